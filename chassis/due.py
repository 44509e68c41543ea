"""When something that waits for a moment is due, also where the moment was written by a bad clock.

A clock that ran a year ahead for one second leaves moments a year away; whoever waits for them
to come waits for ever. No pause of ours lasts longer than an hour, so what is further away than
twice that was never meant.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, or_

LONGEST_WAIT = timedelta(hours=2)


def is_due(*, column: Column[Any], now: datetime) -> ColumnElement[bool]:
    """Return the condition that the moment in `column` has come, or never should have been."""
    return or_(column <= now, column > now + LONGEST_WAIT)


def is_ahead(
    *, column: Column[Any], now: ColumnElement[Any], far: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Return the condition that the moment in `column` is still to come.

    `now` and `far`, which is `LONGEST_WAIT` later, are parameters of the statement.
    """
    return and_(column > now, column <= far)
