"""A token is believed only if a key of ours signed it, for us, now.

| token                                                    | believed |
|----------------------------------------------------------|----------|
| signed by a live key, either of two during a rotation    | yes      |
| expired, from the future, other issuer or audience       | no       |
| a required claim missing or of a wrong type              | no       |
| unknown kid, other key, `none`, HMAC with the public key | no       |

| the key file                                | what happens                                     |
|---------------------------------------------|--------------------------------------------------|
| has a new key                               | known within a second of the first token by it   |
| has lost a key                              | refused after five seconds                       |
| is broken or gone                           | the old keys stay good; told once, as an error   |
| unchanged, a thousand unknown keys          | looked at once a second, read never              |
"""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chassis.auth import (
    Authenticator,
    KeyFile,
    KeysUnreadable,
    TokenRefused,
    bearer_token,
    read_keys,
)
from tests.support.tokens import AUDIENCE, ISSUER, SigningKey, write_jwks

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW, STRANGER = (SigningKey(key_id=name) for name in ("old", "new", "stranger"))


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    keys = read_keys(write_jwks(tmp_path / "jwks.json", OLD, NEW))
    return Authenticator(keys=keys, issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize("key", [OLD, NEW])
def test_a_token_of_either_live_key_names_its_caller(
    authenticator: Authenticator, key: SigningKey
) -> None:
    caller = authenticator.authenticate(token=key.token(now=NOW), now=NOW)
    assert caller.subject == "tester"
    assert caller.scopes == {"payments:inquire", "payments:confirm"}
    assert caller.bank == "AMK"


def test_a_token_of_no_bank_is_bound_to_none(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(token=NEW.token(now=NOW, bank=None), now=NOW).bank is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "someone-else"},
        {"aud": "someone-else"},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
        {"exp": 1.5},
        {"exp": True},
        {"exp": int((NOW - timedelta(minutes=1)).timestamp())},
        {"iat": int((NOW + timedelta(minutes=5)).timestamp())},
        {"nbf": int((NOW + timedelta(minutes=5)).timestamp())},
        {"scope": ["payments:confirm"]},
        {"bank": 7},
        {"bank": ""},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(
    authenticator: Authenticator, claims: dict[str, Any]
) -> None:
    with pytest.raises(TokenRefused):
        authenticator.authenticate(token=NEW.token(now=NOW, **claims), now=NOW)


def test_a_token_expires_by_the_clock_it_is_given(authenticator: Authenticator) -> None:
    token = NEW.token(now=NOW)
    authenticator.authenticate(token=token, now=NOW + timedelta(minutes=59))
    with pytest.raises(TokenRefused, match="expired"):
        authenticator.authenticate(token=token, now=NOW + timedelta(minutes=61))


def _counting_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    checked: list[str] = []
    decode = jwt.decode

    def counted(token: str, *arguments: Any, **options: Any) -> Any:
        checked.append(token)
        return decode(token, *arguments, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    return checked


def test_a_signature_is_checked_once_and_times_every_time(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = _counting_checks(monkeypatch)
    token = NEW.token(now=NOW)
    for minutes in (0, 30, 59):
        authenticator.authenticate(token=token, now=NOW + timedelta(minutes=minutes))
    with pytest.raises(TokenRefused, match="expired"):
        authenticator.authenticate(token=token, now=NOW + timedelta(minutes=61))
    with pytest.raises(TokenRefused, match="not valid yet"):
        authenticator.authenticate(token=token, now=NOW - timedelta(minutes=5))
    assert checked == [token]


def test_a_token_that_differs_in_one_character_is_checked(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = NEW.token(now=NOW)
    authenticator.authenticate(token=token, now=NOW)
    checked = _counting_checks(monkeypatch)
    other = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
    for _ in range(2):
        with pytest.raises(TokenRefused):
            authenticator.authenticate(token=other, now=NOW)
    assert checked == [other, other]


def test_what_is_known_of_tokens_is_bounded(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.auth._MOST_KNOWN", 3)
    tokens = [NEW.token(now=NOW, sub=f"caller {number}") for number in range(5)]
    for token in tokens:
        authenticator.authenticate(token=token, now=NOW)
    assert len(authenticator._known) == 3
    checked = _counting_checks(monkeypatch)
    authenticator.authenticate(token=tokens[-1], now=NOW)
    authenticator.authenticate(token=tokens[0], now=NOW)
    assert checked == [tokens[0]]


def _signed_by_public_key(claims: dict[str, object], public: bytes) -> str:
    """Return the old confusion, a public key taken for a secret, which PyJWT refuses to make."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"new"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    signature = hmac.digest(public, head + b"." + body, "sha256")
    return b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def _forged() -> list[str]:
    impostor = SigningKey(key_id="new")
    public = NEW.private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = jwt.decode(NEW.token(now=NOW), options={"verify_signature": False})
    return [
        STRANGER.token(now=NOW),
        impostor.token(now=NOW),
        jwt.encode(claims, "", algorithm="none", headers={"kid": "new"}),
        _signed_by_public_key(claims, public),
        jwt.encode(claims, NEW.private, algorithm="ES256"),
        NEW.token(now=NOW)[:-4] + "AAAA",
        "",
        "a.b.c",
        "ğ.ğ.ğ",
        "." * 2000,
    ]


@pytest.mark.parametrize("token", _forged(), ids=range(10))
def test_a_forged_token_is_refused_and_never_quoted(
    authenticator: Authenticator, token: str
) -> None:
    with pytest.raises(TokenRefused) as refusal:
        authenticator.authenticate(token=token, now=NOW)
    assert len(token) < 10 or token not in str(refusal.value)


def test_the_algorithm_is_pinned_by_the_key_and_not_by_the_token(tmp_path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [entry | {"kid": "rsa", "alg": "RS256"}]}))
    authenticator = Authenticator(keys=read_keys(path), issuer=ISSUER, audience=AUDIENCE)
    claims = jwt.decode(NEW.token(now=NOW), options={"verify_signature": False})
    for algorithm, believed in (("RS256", True), ("PS256", False)):
        token = jwt.encode(claims, private, algorithm=algorithm, headers={"kid": "rsa"})
        if believed:
            assert authenticator.authenticate(token=token, now=NOW).subject == "tester"
        else:
            with pytest.raises(TokenRefused):
                authenticator.authenticate(token=token, now=NOW)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5", "Token abc"])
def test_a_header_without_a_bearer_token_is_refused(header: str) -> None:
    with pytest.raises(TokenRefused):
        bearer_token(header)


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_the_bearer_scheme_is_read_in_any_case(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys":[]}',
        '{"keys":[{"kty":"EC"}]}',
        json.dumps({"keys": [OLD.jwk | {"alg": "none"}]}),
        json.dumps({"keys": [OLD.jwk | {"d": OLD.private_number}]}),
        json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"}]}),
        json.dumps({"keys": [OLD.jwk, OLD.jwk]}),
    ],
)
def test_a_key_file_that_is_no_public_key_set_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeysUnreadable, match=r"jwks\.json"):
        read_keys(path)


def test_a_missing_key_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match=r"nowhere\.json"):
        read_keys(tmp_path / "nowhere.json")


class Watch:
    """A monotonic clock that moves by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def rotated(tmp_path: Path, *keys: SigningKey) -> None:
    """Put a new file in the place of the old one, as payctl does."""
    write_jwks(tmp_path / "draft.json", *keys).replace(tmp_path / "jwks.json")


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def watching(tmp_path: Path, watch: Watch) -> Authenticator:
    keys = KeyFile(path=write_jwks(tmp_path / "jwks.json", OLD), clock=watch)
    return Authenticator(keys=keys, issuer=ISSUER, audience=AUDIENCE)


def is_known(authenticator: Authenticator, key: SigningKey) -> bool:
    try:
        authenticator.authenticate(token=key.token(now=NOW), now=NOW)
    except TokenRefused:
        return False
    return True


def test_a_new_key_is_known_a_second_after_it_was_published(
    tmp_path: Path, watch: Watch, watching: Authenticator
) -> None:
    rotated(tmp_path, OLD, NEW)
    assert not is_known(watching, NEW)  # looked at less than a second ago
    watch.now_s += 1
    assert is_known(watching, NEW)
    assert is_known(watching, OLD)


def test_a_key_that_was_taken_out_is_refused_after_five_seconds(
    tmp_path: Path, watch: Watch, watching: Authenticator
) -> None:
    token = OLD.token(now=NOW)
    watching.authenticate(token=token, now=NOW)  # its signature is known from here on
    rotated(tmp_path, NEW)
    watch.now_s += 4.9
    assert is_known(watching, OLD)
    watch.now_s += 0.1
    assert not is_known(watching, OLD)
    with pytest.raises(TokenRefused, match="no key of ours"):
        watching.authenticate(token=token, now=NOW)


def test_a_file_that_was_written_over_in_place_is_read_again(
    tmp_path: Path, watch: Watch, watching: Authenticator
) -> None:
    write_jwks(tmp_path / "jwks.json", OLD, NEW)
    watch.now_s += 1
    assert is_known(watching, NEW)


@pytest.mark.parametrize("broken", ["", '{"keys":[', '{"keys":[]}', "[" * 100_000, None])
def test_a_broken_new_file_keeps_the_old_keys_and_is_told_once(
    tmp_path: Path, watch: Watch, watching: Authenticator, broken: str | None
) -> None:
    path = tmp_path / "jwks.json"
    path.unlink() if broken is None else path.write_text(broken)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            watch.now_s += 5
            assert is_known(watching, OLD)
            assert not is_known(watching, NEW)
    [told] = logs
    assert (told["event"], told["log_level"], told["name"]) == (
        "new_file_not_used",
        "error",
        "JWT_KEYS_FILE",
    )
    rotated(tmp_path, NEW)
    watch.now_s += 5
    assert is_known(watching, NEW)


def test_a_flood_of_unknown_keys_is_one_look_a_second(
    watch: Watch, watching: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    reads: list[Path] = []
    stat, read_text = Path.stat, Path.read_text

    def counted_stat(path: Path, **options: Any) -> Any:
        looks.append(path)
        return stat(path, **options)

    def counted_read(path: Path, **options: Any) -> Any:
        reads.append(path)
        return read_text(path, **options)

    monkeypatch.setattr(Path, "stat", counted_stat)
    monkeypatch.setattr(Path, "read_text", counted_read)
    for _ in range(10):
        watch.now_s += 1
        for _ in range(100):
            assert not is_known(watching, NEW)
    assert len(looks) == 10
    assert reads == []  # nothing had changed
