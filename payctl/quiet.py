"""The services' own parts, used by a command, log nothing: its output is its answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Drop what is logged until the block ends."""
    before = structlog.get_config()
    structlog.configure(processors=[_dropped])
    try:
        yield
    finally:
        structlog.configure(**before)


def _dropped(_logger: Any, _method: str, _event: Any) -> NoReturn:
    raise structlog.DropEvent
