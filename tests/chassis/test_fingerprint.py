"""A fingerprint of settings: equal where they are, and nothing of their secrets."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chassis.fingerprint import fingerprint


@dataclass(frozen=True, kw_only=True)
class Inner:
    key: str = "k"
    names: frozenset[str] = frozenset({"a", "b"})


@dataclass(frozen=True, kw_only=True)
class Outer:
    listen: str = ":1"
    password: str = field(default="p", repr=False)
    limit: int = 1
    inner: dict[str, Inner] = field(default_factory=lambda: {"AMK": Inner()})


def told(settings: Outer) -> str:
    return fingerprint(settings=settings, leaving_out=("key", "listen"))


@pytest.mark.parametrize(
    "change",
    [{"password": "q"}, {"listen": ":2"}, {"inner": {"AMK": Inner(key="other")}}],
)
def test_secrets_and_what_is_left_out_change_nothing(change: dict[str, Any]) -> None:
    assert told(replace(Outer(), **change)) == told(Outer())


@pytest.mark.parametrize(
    "change",
    [{"limit": 2}, {"inner": {}}, {"inner": {"AMK": Inner(names=frozenset({"a"}))}}],
)
def test_anything_else_changes_it(change: dict[str, Any]) -> None:
    assert told(replace(Outer(), **change)) != told(Outer())
