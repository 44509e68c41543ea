"""Pages of lists: sizes, and tokens that say where the next page begins.

A token holds the list, a digest of what was asked for, and the place of the last row that was
shown, never an offset: rows that come meanwhile neither repeat nor hide others.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from chassis.errors import BadRequest, Violation

T = TypeVar("T")

DEFAULT_SIZE = 50
MOST = 200
Place = list[Any]  # of plain JSON values: of a row, or of the last row of each merged stream


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Rows of one page, and the token of the next, empty on the last."""

    rows: Sequence[T]
    next_token: str


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Which page of which list is asked for."""

    name: str
    size: int
    digest: str
    after: Place | None  # None: from the beginning

    def cut(self, rows: Sequence[T], *, place: Callable[[T], Place]) -> Page[T]:
        """Return the page that `rows`, read one beyond its size, begin with."""
        shown = rows[: self.size]
        more = len(rows) > self.size
        return Page(rows=shown, next_token=self.token(place(shown[-1])) if more else "")

    def token(self, place: Place) -> str:
        """Return the token of the page after `place`."""
        text = json.dumps([self.name, self.digest, place], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read_page(*, request: Any, width: int) -> PageRequest:
    """Return which page the list request `request` asks for.

    `width` is how many values a place of the list has.

    :raises BadRequest: its size or its token is none of ours.
    """
    violations = []
    if request.page_size > MOST:
        violations.append(Violation(field="pageSize", description=f"must be at most {MOST}"))
    name = request.DESCRIPTOR.name
    digest = _digest(request.filter)
    after = None
    if request.page_token:
        after = _place(request.page_token, name, digest, width)
        if after is None:
            violations.append(
                Violation(field="pageToken", description="is not one of this list and filter")
            )
    if violations:
        raise BadRequest(violations=violations)
    return PageRequest(
        name=name, size=request.page_size or DEFAULT_SIZE, digest=digest, after=after
    )


def merged(
    streams: Sequence[Sequence[T]], *, key: Callable[[T], Any], newest_first: bool
) -> Iterator[tuple[int, T]]:
    """Walk sorted `streams` as one, each row with the number of its stream."""
    waiting = [list(reversed(stream)) for stream in streams]
    choose = max if newest_first else min
    while any(waiting):
        heads = [number for number, rows in enumerate(waiting) if rows]
        number = choose(heads, key=lambda one: key(waiting[one][-1]))
        yield number, waiting[number].pop()


def _digest(asked: Message) -> str:
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()[:12]


def _place(token: str, name: str, digest: str, width: int) -> Place | None:
    """Return the place in `token`, None where it is not one of this list and filter."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found_name, found_digest, place = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    if (found_name, found_digest) != (name, digest):
        return None
    if not isinstance(place, list) or len(place) != width:
        return None
    return place if all(isinstance(one, int) and 0 <= one < 1 << 62 for one in place) else None
