"""Connections of a pool that rested for a while are asked whether they live before they are used.

A server that was restarted, or a firewall that forgot, is found out here instead of in the work.
A connection that was in use a moment ago is not asked: the question is a round trip, which under
load would be made before every transaction.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InvalidatePoolError

RESTED_S = 1.0
_SINCE = "rested_since"


def ping_rested(*, engine: Engine, timer: Callable[[], float], rested_s: float = RESTED_S) -> None:
    """Have connections of `engine` asked that rested for `rested_s` or longer.

    One that does not answer is replaced, with all that were opened before it was found out.
    """

    def on_checkin(_connection: Any, record: Any) -> None:
        record.info[_SINCE] = timer()

    def on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get(_SINCE)
        if since is None or timer() - since < rested_s:  # one that is new has just been opened
            return
        try:
            alive = engine.dialect.do_ping(connection)
        except Exception as problem:
            raise InvalidatePoolError("does not answer") from problem
        if not alive:
            raise InvalidatePoolError("does not answer")

    event.listen(engine, "checkin", on_checkin)
    event.listen(engine, "checkout", on_checkout)
