"""Runs the KHQR service until SIGTERM or SIGINT: `python -m khqr_svc`."""

import os
import sys

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we never fork; its handlers cost
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core writes past every log of ours

from chassis.auth import KeysUnreadable
from chassis.process import run_until_stopped
from chassis.settings import SettingError, own_variables
from chassis.telemetry import complain, configure_logging
from khqr_svc.service import KhqrProcess
from khqr_svc.settings import read_settings

_REFUSED = 2


def main() -> int:
    """Run the service; return the exit code: 2 with one line where it refuses to start."""
    configure_logging(service="khqr", level="INFO")  # until the settings say which
    try:
        variables = own_variables()
        settings = read_settings(variables=variables, environ=variables.environ)
        configure_logging(service="khqr", level=settings.log_level)
        run_until_stopped(make=lambda: KhqrProcess(settings=settings))
    except (SettingError, KeysUnreadable, OSError) as problem:
        complain(service="khqr", problem=problem)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
