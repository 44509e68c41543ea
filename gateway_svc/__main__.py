"""Runs the gateway until SIGTERM or SIGINT: `python -m gateway_svc`."""

import os
import sys

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we never fork; its handlers cost
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core writes past every log of ours

from chassis.auth import KeysUnreadable
from chassis.database import DatabaseUnavailable
from chassis.process import run_until_stopped
from chassis.settings import SettingError, own_variables
from chassis.telemetry import complain, configure_logging
from gateway_svc.migrations import SchemaBehind
from gateway_svc.service import GatewayProcess
from gateway_svc.settings import read_settings

_REFUSED = 2


def main() -> int:
    """Run the gateway; return the exit code: 2 with one line where it refuses to start."""
    configure_logging(service="gateway", level="INFO")  # until the settings say which
    try:
        variables = own_variables()
        settings = read_settings(variables=variables, environ=variables.environ)
        configure_logging(service="gateway", level=settings.log_level)
        run_until_stopped(make=lambda: GatewayProcess(settings=settings))
    except (SettingError, KeysUnreadable, SchemaBehind, DatabaseUnavailable, OSError) as problem:
        complain(service="gateway", problem=problem)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
