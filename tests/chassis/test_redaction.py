"""What a log may not say is not in it, in whatever form it comes.

| given                                        | shown                                  |
|----------------------------------------------|----------------------------------------|
| a member whose name promises a secret        | its name                               |
| a secret the process has read, in any form   | ***                                    |
| a credential nobody told us of               | what stands around it                  |
| an exception, its causes, a group            | types, places, codes; no text          |
| an object, bytes                             | type, length                           |
| a value longer than 2000 characters          | its start, and how much is missing     |
"""

import base64
import json
import time
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from chassis.redaction import (
    MASK,
    KnownSecrets,
    explained,
    known_secrets,
    masked,
    masked_members,
    masked_text,
)

SECRET = "Gold+Fish/ខ្មែរ \"7'\\"
NAME = "Sok Dara"


class Colour(StrEnum):
    RED = "red"


@dataclass
class Notice:
    payer: str = NAME


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        repr(SECRET),
        repr(SECRET.encode()),
        json.dumps(SECRET, ensure_ascii=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_secret_that_was_read_is_masked_however_it_is_spelled(spelled: str) -> None:
    known = KnownSecrets()
    known.remember(value=SECRET)
    shown = known.masked(f"before {spelled} after")
    assert MASK in shown
    assert len(shown) < len("before *** after") + 5  # nothing but quotes and padding is left


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    known = KnownSecrets()
    for value in ("abcdef", "abcdefgh"):
        known.remember(value=value)
    assert known.masked("abcdefgh abcdef") == "*** ***"


def test_a_short_secret_does_not_riddle_the_log() -> None:
    known = KnownSecrets()
    known.remember(value="12345")
    assert known.masked("12345") == "12345"


def test_of_what_is_renewed_the_oldest_is_forgotten_and_nothing_else() -> None:
    known = KnownSecrets()
    known.remember(value="lasting")
    for number in range(65):
        known.remember(value=f"token-{number:03}", renewed=True)
    assert known.masked("lasting token-000 token-001 token-064") == "*** token-000 *** ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123 x", "Authorization: Bearer *** x"),
        ("told eyJhbGciOiJF.eyJzdWIiOiJ4.c2ln end", "told *** end"),
        ("postgresql+asyncpg://u:p@ss/w@host/db", "postgresql+asyncpg://***@host/db"),
        ('{"password": "two words", "a": 1}', '{"password": ***, "a": 1}'),
        ("{'access_token':'x', 'b': 2}", "{'access_token':***, 'b': 2}"),
        ("txId=1&hash=abc%2B&b=2", "txId=1&hash=***&b=2"),
        ("sasl_plain_password='p', x", "sasl_plain_password=***, x"),
        ("enc:v1:AAAA_-bbb= end", "*** end"),
        # our own complaints stay readable
        ("AMK.sign_in.password: must be env:NAME", "AMK.sign_in.password: must be env:NAME"),
        ("the token has expired", "the token has expired"),
    ],
)
def test_what_looks_like_a_credential_is_masked_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "access_token",
        "password",
        "HMAC_KEY",
        "hash",
        "payer",
        "sasl_plain",
        "body",
    ],
)
def test_a_member_of_a_secret_name_is_masked_at_any_depth(name: str) -> None:
    shown = masked_members({name: NAME, "in": {"list": [{name: [NAME]}]}})
    assert NAME not in json.dumps(shown)
    assert shown[name] == MASK


def test_plain_values_stay_as_they_are() -> None:
    values = {"n": 7, "yes": True, "no": None, "amount": Decimal("1.50"), "red": Colour.RED}
    assert masked_members(values) == values | {"amount": "1.50", "red": "red"}


@pytest.mark.parametrize("value", [Notice(), NAME.encode(), {"in": [Notice()]}, NAME.encode])
def test_an_object_is_shown_by_its_type(value: Any) -> None:
    assert NAME not in repr(masked(value))


def test_what_has_no_end_ends() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert "<dict>" in json.dumps(masked(loop))
    assert len(masked(list(range(1000)))) == 50
    assert masked("x" * 2500) == "x" * 2000 + "...(500 more)"


def test_a_secret_at_the_cut_is_not_cut_in_two() -> None:
    known_secrets.remember(value="barracuda-at-the-cut")
    assert "barracuda" not in masked_text("x" * 1990 + " barracuda-at-the-cut")


def test_a_secret_at_the_end_of_what_is_looked_through_is_not_shown() -> None:
    known_secrets.remember(value="sturgeon-at-the-edge")
    filler = ("enc:v1:" + "A" * 92 + " ") * 327  # 32,700 characters that become 1,308
    for blanks in range(40, 70):
        shown = masked_text(f"{filler}{' ' * blanks}sturgeon-at-the-edge{' ' * 9999}")
        assert "stur" not in shown


def test_an_exception_is_shown_without_a_word_of_its_text() -> None:
    cause = PermissionError(13, NAME)
    group = ExceptionGroup(NAME, [ValueError(NAME), KeyError(NAME)])
    group.__cause__ = cause
    shown = explained(group)
    assert NAME not in shown
    assert shown.splitlines() == [
        "ExceptionGroup",
        "ValueError",
        "KeyError",
        "PermissionError (errno 13)",
    ]


def test_an_exception_is_shown_with_the_place_it_came_from() -> None:
    with pytest.raises(TypeError) as caught:
        len(5)  # type: ignore[arg-type]
    assert "test_redaction.py" in explained(caught.value)


def test_an_exception_that_causes_itself_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert explained(one).split() == ["ValueError", "KeyError"]


@pytest.mark.parametrize("piece", ["://", "eyJ-", "bearer ", 'password="', "token =", "'a':'"])
def test_no_text_takes_long(piece: str) -> None:
    started_s = time.perf_counter()
    masked_text(piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - started_s < 1
