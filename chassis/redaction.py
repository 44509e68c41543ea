"""What a log may not say, taken out of whatever is about to be said.

Three nets, one behind the other: members whose name promises a secret or a person are masked
whole; secrets that this process has read are known by value and masked wherever they turn up;
what has the form of a credential (a bearer token, a JWT, a password in a URL or in
`password=...`) is masked although nobody told us. A text of an exception is never shown at all:
it quotes what its thrower was given, a row, a body, a name in Khmer.
"""

import base64
import math
import re
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

MASK = "***"
_LONGEST = 2000  # characters of one value: more is a body, not a fact
_WINDOW = 32_768  # characters that are looked through: a megabyte would take seconds
_EDGE = 8192  # of the window's end, longer than any secret
_LONGEST_NAME = 100
_MOST_MEMBERS = 50  # of one list or object
_DEEPEST = 5
_MOST_FRAMES = 25  # of one exception; the innermost are kept
_MOST_EXCEPTIONS = 8  # of one chain or group
_LEAST_SECRET = 6  # characters: masking a shorter one would riddle every line
_MOST_RENEWED = 64  # tokens are renewed for ever; the oldest are forgotten

_SECRET_NAMES = re.compile(
    r"authorization|token|secret|password|passwd|passphrase|hash|cookie|payer|hmac|sasl_|signature"
    r"|credential|api_?key|private|body",
    re.IGNORECASE,
)
# Bounded, so that no text takes long. Behind a colon only what is quoted is a value: our own
# complaints are "NAME_OF_PASSWORD: what is wrong with it".
_SECRET_TEXTS = re.compile(
    r"(?i)(?P<before>\bbearer\s+)\S+"
    r"|\beyJ[\w-]{1,2048}\.[\w-]{1,4096}\.[\w-]{0,1024}"
    r"|\benc:v1:[\w=/+-]+"
    r"|(?<=://)\S{1,300}(?=@)"  # up to the last @: a password may hold one
    r"|(?P<name>(?:authorization|token|secret|password|passwd|hash|hmac|api_?key|payer)[\"']?"
    r"(?:\s?=\s?|\s?:\s?(?=[\"'])))(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&}\])]+)"
)
_NOTHING = r"(?!)"  # matches nowhere
_FACT = re.compile(r"[A-Za-z0-9_.]{1,80}", re.ASCII)
# What an exception says in a form of its own maker's: numbers and names out of a schema.
_FACTS = ("errno", "sqlstate", "sqlite_errorname", "constraint_name", "status")


class KnownSecrets:
    """The secrets that this process has read, so that no line of it repeats one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lasting: set[str] = set()
        self._renewed: dict[str, None] = {}  # the oldest first
        self._pattern: re.Pattern[str] | None = None

    def remember(self, *, value: str, renewed: bool = False) -> None:
        """Mask `value` from now on, however it is spelled; one under 6 characters is not.

        What is `renewed` is forgotten when 64 newer ones have come; other secrets never are.
        """
        if len(value) < _LEAST_SECRET:
            return
        with self._lock:
            if value in self._lasting:
                return
            if not renewed:
                self._lasting.add(value)
            else:
                self._renewed.pop(value, None)
                self._renewed[value] = None
                while len(self._renewed) > _MOST_RENEWED:
                    del self._renewed[next(iter(self._renewed))]
            self._pattern = None

    def masked(self, text: str) -> str:
        """Return `text` without any of them."""
        return (self._pattern or self._compiled()).sub(MASK, text)

    def _compiled(self) -> re.Pattern[str]:
        # Made when it is needed first: a process reads many secrets and then writes its first line.
        with self._lock:
            spellings = {
                one for known in (*self._lasting, *self._renewed) for one in _spellings(known)
            }
            # The longest first, or a part of one would leave the rest of another.
            longest_first = sorted(spellings, key=len, reverse=True)
            pattern = re.compile("|".join(map(re.escape, longest_first)) or _NOTHING)
            self._pattern = pattern
        return pattern


known_secrets = KnownSecrets()  # of the process, as its standard error is


def masked_text(text: str, *, longest: int = _LONGEST) -> str:
    """Return `text` without secrets, cut after `longest` characters."""
    # Cut after masking: half a secret is not recognised. So is one at the window's end, and masks
    # may have moved it to the front.
    shown = _SECRET_TEXTS.sub(_without_value, known_secrets.masked(text[:_WINDOW]))
    if len(text) > _WINDOW:
        return f"{shown[:-_EDGE][:longest]}...({len(text)} in all)"
    return cut(shown, longest=longest)


def _without_value(found: re.Match[str]) -> str:
    return f"{found['before'] or found['name'] or ''}{MASK}"


def cut(text: str, *, longest: int) -> str:
    """Return `text`, its end replaced by how much of it is missing."""
    return text if len(text) <= longest else f"{text[:longest]}...({len(text) - longest} more)"


def is_secret_name(name: str) -> bool:
    """Tell whether a member of this name is masked whole."""
    return _SECRET_NAMES.search(name) is not None


def masked_members(members: Mapping[Any, Any], *, depth: int = 0) -> dict[str, Any]:
    """Return `members` as they may be logged: JSON has a form for all that is left."""
    shown: dict[str, Any] = {}
    for name, value in list(members.items())[:_MOST_MEMBERS]:
        text = masked_text(str(name), longest=_LONGEST_NAME)
        shown[text] = MASK if is_secret_name(text) else masked(value, depth=depth + 1)
    return shown


def masked(value: Any, *, depth: int = 0) -> Any:
    """Return `value` as it may be logged; of an object that is no plain value, its type."""
    shown: Any = f"<{type(value).__name__}>"
    match value:
        case Enum():
            shown = masked(value.value, depth=depth)
        case bool() | int() | None:
            shown = value
        case float():
            shown = value if math.isfinite(value) else str(value)  # JSON has no NaN
        case str() | Decimal() | UUID() | date() | PurePath():
            shown = masked_text(str(value))
        case BaseException():
            shown = explained(value)
        case bytes() | bytearray():
            shown = f"<{len(value)} bytes>"
        case Mapping() if depth < _DEEPEST:
            shown = masked_members(value, depth=depth)
        case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
            shown = [masked(one, depth=depth + 1) for one in list(value)[:_MOST_MEMBERS]]
    return shown


def explained(problem: BaseException) -> str:
    """Return types, places and codes of `problem` and its causes, and no word of its text."""
    return "\n".join(
        line
        for _count, one in zip(range(_MOST_EXCEPTIONS), _chain(problem, set()), strict=False)
        for line in _lines(one)
    )


def _chain(problem: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        if isinstance(problem, BaseExceptionGroup):
            for one in problem.exceptions:
                yield from _chain(one, seen)
        hidden = problem.__suppress_context__
        problem = problem.__cause__ or (None if hidden else problem.__context__)


def _lines(problem: BaseException) -> Iterator[str]:
    facts = []
    for name in _FACTS:
        try:
            value = getattr(problem, name, None)
        except Exception:  # noqa: BLE001, S112 - a property of a stranger's
            continue
        if (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, str) and _FACT.fullmatch(value)
        ):
            facts.append(f"{name} {value}")
    kind = type(problem)
    named = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    yield cut(named, longest=_LONGEST_NAME) + (f" ({', '.join(facts)})" if facts else "")
    for frame in traceback.extract_tb(problem.__traceback__)[-_MOST_FRAMES:]:
        place = "/".join(Path(frame.filename).parts[-3:])
        yield f"  at {place}:{frame.lineno} in {frame.name}"


def _spellings(secret: str) -> Iterator[str]:
    """Walk the forms in which a secret could stand in a text."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield repr(secret.encode())[2:-1]
    yield secret.replace("\\", "\\\\").replace('"', '\\"')
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    yield secret.encode().hex()
