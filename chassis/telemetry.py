"""Logs as JSON lines on standard error, with the request id, and without secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

request_id_of_call: ContextVar[str] = ContextVar("request_id_of_call", default="")

_MASK = "***"
_SECRET_NAMES = re.compile(
    r"authorization|token|secret|password|hash|cookie|payer|hmac", re.IGNORECASE
)
_SECRET_TEXTS = re.compile(r"(?i)\bbearer\s+\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=://)[^/@\s]+@")


def configure_logging(*, service: str, level: str) -> None:
    """Send every log line of this process to standard error as one JSON object.

    `level` is a name of the standard library, such as `INFO`.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_names(service),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what must not be read in a log: values of secret names, tokens, URL passwords."""
    return {
        name: _MASK if _SECRET_NAMES.search(name) else _masked(value)
        for name, value in event.items()
    }


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXTS.sub(_MASK, value)
    if isinstance(value, dict):
        return {
            name: _MASK if _SECRET_NAMES.search(str(name)) else _masked(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(one) for one in value]
    return value


def _add_names(service: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        event["service"] = service
        if request_id := request_id_of_call.get():
            event["request_id"] = request_id
        return event

    return add
