"""A short digest of settings without their secrets: equal where two processes are set alike."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

_LENGTH = 16  # hexadecimal digits; nobody attacks it, and people compare it by eye


def fingerprint(*, settings: Any, leaving_out: Collection[str]) -> str:
    """Return the digest of a dataclass, whatever is in it.

    Fields that a repr does not show hold secrets and are left out, as are those named
    `leaving_out`, at any depth.
    """
    text = json.dumps(_plain(settings, leaving_out), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _plain(value: Any, leaving_out: Collection[str]) -> Any:
    if is_dataclass(value):
        return {
            one.name: _plain(getattr(value, one.name), leaving_out)
            for one in fields(value)
            if one.repr and one.name not in leaving_out
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(one, leaving_out) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, leaving_out) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(_plain(one, leaving_out)) for one in value)
    return value if isinstance(value, bool | int | str | None) else str(value)
