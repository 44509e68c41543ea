"""Logs as JSON on standard error: one line an event, with the request id, without secrets.

Everything that a process says comes through here: our own lines, those of libraries, warnings,
what nobody caught. Our own name their members, which are masked by name and by value
(`chassis.redaction`). A library's line is its constant text: what it would fill in is other
people's rows, bodies and passwords, so of that only numbers and the types of exceptions are shown.
"""

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import structlog

from chassis.redaction import explained, masked_members, masked_text

request_id_of_call: ContextVar[str] = ContextVar("request_id_of_call", default="")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_FOREIGN = "***"
# Where a text without arguments was put together by its library, data starts behind one of these.
_DATA_STARTS = re.compile(r"[\n\r:='\"<({\[]")
_LONGEST_TRACE = 8000

Emit = Callable[[str, Mapping[str, Any]], None]


def configure_logging(*, service: str, level: str) -> None:
    """Send every log line of this process to standard error as one JSON object.

    `level` is a name of the standard library, such as `INFO`.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            redact,
            _add_origin(service),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        handlers=[LibraryHandler(service=service, stream=sys.stderr)], level=level, force=True
    )
    warnings.showwarning = _warned
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


def complain(*, service: str, problem: Exception) -> None:
    """Say on standard error, in one line without secrets, why `service` does not start."""
    line = masked_text(f"{service}: {problem}")
    sys.stderr.write(line.encode("unicode_escape").decode("ascii") + "\n")


def request_id_or(*, given: str, make: Callable[[], str]) -> str:
    """Return the caller's request id if it is 1 to 128 of `[A-Za-z0-9._-]`, else make one."""
    return given if _REQUEST_ID.fullmatch(given) else make()


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what must not be read in a log, and say what an exception is without its text."""
    members = dict(event)
    exc_info = members.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()[1]
    elif isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    members.pop("stack_info", None)
    shown = masked_members(members)
    if isinstance(exc_info, BaseException):
        shown["exception"] = masked_text(explained(exc_info), longest=_LONGEST_TRACE)
    return shown


class LibraryHandler(logging.Handler):
    """Writes the lines of libraries: their constant text, numbers, types of exceptions."""

    def __init__(self, *, service: str, stream: TextIO) -> None:
        super().__init__()
        self._add_origin = _add_origin(service)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, whatever the record holds."""
        try:
            line = self._line(record)
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - a log that cannot be written breaks nobody's work
            self.handleError(record)

    def _line(self, record: logging.LogRecord) -> str:
        event = redact(
            None,
            "",
            {
                "event": _constant_text(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "exc_info": record.exc_info,
            },
        )
        return _render(None, "", self._add_origin(None, "", event))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Stay silent: logging's own complaint prints the arguments of the line."""


class _Shown(str):
    """A text that is the same however a template asks for it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _constant_text(record: logging.LogRecord) -> str:
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    if not record.args:
        text = _DATA_STARTS.split(template, maxsplit=1)[0].rstrip()
        return text or f"line {record.lineno} of {record.module}"
    try:
        if isinstance(record.args, Mapping):
            return template % {name: _argument(one) for name, one in record.args.items()}
        return template % tuple(_argument(one) for one in record.args)
    except (TypeError, ValueError, KeyError):
        return template  # without what it would fill in


def _argument(value: object) -> object:
    match value:
        case int() | float():
            return value
        case BaseException():
            return _Shown(type(value).__name__)
    return _Shown(_FOREIGN)


def _add_origin(service: str) -> Any:
    """Return what adds the members that are ours alone, so that they need no mask."""

    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        event["timestamp"] = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
        event["service"] = service
        if request_id := request_id_of_call.get():
            event["request_id"] = request_id
        return event

    return add


def _render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    # ASCII alone: terminals obey C1 controls, editors break lines at U+2028, and a lone
    # surrogate is no UTF-8.
    return json.dumps(event, ensure_ascii=True, allow_nan=False)


def _warned(  # noqa: PLR0917 - the form that warnings calls
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del message, file, line  # the text shows objects
    place = f"{'/'.join(filename.split('/')[-3:])}:{lineno}"
    structlog.get_logger().warning("python_warning", category=category.__name__, place=place)


def _uncaught(
    _kind: type[BaseException], problem: BaseException, _trace: TracebackType | None
) -> None:
    structlog.get_logger().critical("uncaught", exc_info=problem)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    structlog.get_logger().critical("uncaught_in_thread", exc_info=args.exc_value)


def _unraisable(args: Any) -> None:
    structlog.get_logger().error("unraisable", exc_info=args.exc_value)
