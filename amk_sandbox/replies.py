"""What the bank answers its partner: a status, a body, and what a page may show of it."""

from dataclasses import dataclass
from typing import Any

import msgspec

JSON = "application/json"
_write_json = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer, not yet sent."""

    status: int
    body: bytes
    content_type: str = JSON
    shown: str


def json_reply(
    *, document: dict[str, Any], status: int = 200, shown: dict[str, Any] | None = None
) -> Reply:
    """Return `document` as an answer; `shown` is put on the page in its place."""
    return Reply(
        status=status,
        body=_write_json(document),
        shown=_write_json(document if shown is None else shown).decode(),
    )


def coded_reply(
    *, code: str, message: str, status: int = 200, data: dict[str, Any] | None = None
) -> Reply:
    """Return an answer with the bank's own code: 00 means that it was able to answer."""
    rest = {} if data is None else {"data": data}
    return json_reply(document={"code": code, "message": message, **rest}, status=status)


def error_reply() -> Reply:
    """Return what a server says that has failed."""
    return Reply(
        status=500,
        body=b"Internal Server Error",
        content_type="text/plain",
        shown="Internal Server Error",
    )


def page_reply() -> Reply:
    """Return what a proxy in between says: a page, and a status as if all were well."""
    page = "<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>"
    return Reply(status=200, body=page.encode(), content_type="text/html", shown=page)
