"""Column types that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, String
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

# A 64-bit key that both engines count up by themselves: SQLite does it for INTEGER alone.
COUNTED_ID = BigInteger().with_variant(Integer(), "sqlite")

_TIME_LAYOUT = "%Y-%m-%dT%H:%M:%S.%fZ"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: timestamptz on PostgreSQL, fixed-width text that sorts on SQLite.

    Takes aware datetimes only and gives aware ones in UTC, to the microsecond.
    """

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of this engine."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what the driver stores.

        :raises ValueError: the datetime is naive, so nobody knows which moment it is.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored datetime must be aware")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else _text_of(moment)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            moment: datetime = value
            return moment.astimezone(UTC)
        return datetime.strptime(value, _TIME_LAYOUT).replace(tzinfo=UTC)


def _text_of(moment: datetime) -> str:
    """Return fixed-width text; `strftime` would write the year 999 with three digits."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
