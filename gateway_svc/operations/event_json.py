"""What an event says, asked of its bytes by each engine."""

from sqlalchemy import ColumnElement, Text, cast, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from gateway_svc.tables import outbox


def event_member(*, name: str, dialect: str) -> ColumnElement[str]:
    """Return the text of the member `name` of an event's value."""
    if dialect == "postgresql":
        value = cast(func.convert_from(outbox.c.value, literal("UTF8", Text)), JSONB)
        text: ColumnElement[str] = value[name].astext
        return text
    return func.json_extract(cast(outbox.c.value, Text), f"$.{name}")
