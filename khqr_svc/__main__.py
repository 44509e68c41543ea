"""Runs the KHQR service until SIGTERM or SIGINT: `python -m khqr_svc`."""

import asyncio
import os
import signal
import sys

import structlog

from chassis.auth import KeysUnreadable
from chassis.settings import SettingError, own_variables
from chassis.telemetry import configure_logging
from khqr_svc.service import KhqrProcess
from khqr_svc.settings import KhqrSettings, read_settings

_REFUSED = 2


async def _serve(settings: KhqrSettings) -> None:
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    process = KhqrProcess(settings=settings)
    address = await process.start()
    log = structlog.get_logger()
    log.info("listening", addresses=[str(address)])
    await asked_to_stop.wait()
    log.info("draining")
    await process.stop()
    log.info("stopped")


def main() -> int:
    """Run the service; return the exit code: 2 with one line where it refuses to start."""
    try:
        variables = own_variables()
        settings = read_settings(variables=variables, environ=os.environ)
        configure_logging(service="khqr", level=settings.log_level)
        run(settings)
    except (SettingError, KeysUnreadable, OSError) as problem:
        print(f"khqr: {problem}", file=sys.stderr)  # noqa: T201 - before and beside the log
        return _REFUSED
    return 0


def run(settings: KhqrSettings) -> None:
    """Serve on uvloop where the platform has it."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))


if __name__ == "__main__":
    sys.exit(main())
