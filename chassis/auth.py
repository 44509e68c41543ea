"""A bearer token -> the caller it names (RFC 6750, RFC 7519, RFC 7517)."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import jwt

from chassis.watched import WatchedFiles

_ALGORITHMS = ("ES256", "ES384", "EdDSA", "RS256", "PS256")  # never "none", never a shared secret
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_LEEWAY_S = 30  # clocks of two machines differ
_SCOPE_SEPARATOR = " "
_LOOK_EVERY_S = 5.0  # so long a key that was taken out of the file is still good
_MOST_KNOWN = 1024  # tokens whose signature was checked: some 2 KB each
_LOOK_FOR_UNKNOWN_S = 1.0  # a flood of unknown keys is one look a second


class TokenRefused(Exception):
    """The token does not prove who calls; the text says why and never holds the token."""


class KeysUnreadable(Exception):
    """The key file cannot be used; the text is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, what it may do, and the one bank it acts for, if it is bound to one."""

    subject: str
    scopes: frozenset[str]
    bank: str | None
    expires_at_s: int


@dataclass(frozen=True, kw_only=True)
class _Key:
    algorithm: str  # pinned: the token's own header never chooses it
    public_key: Any


class Keys(Protocol):
    """Public keys by their id; a mapping is one."""

    def get(self, key_id: str, /) -> _Key | None:
        """Return the key of that id, None where there is none."""


class KeyFile:
    """The public keys of a JWKS file, read again when it changes.

    It is looked at every five seconds, and at most once a second for a key id that it does not
    have; a new file that cannot be used leaves the old keys good and is logged.
    """

    def __init__(self, *, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. `clock` is monotonic.

        :raises KeysUnreadable: it cannot be used.
        """
        self._watched = WatchedFiles(
            name="JWT_KEYS_FILE",
            paths=[path],
            read=lambda: read_keys(path),
            broken=KeysUnreadable,
            clock=clock,
            every_s=_LOOK_EVERY_S,
        )

    def get(self, key_id: str, /) -> _Key | None:
        """Return the key of that id, None where the file has none."""
        found = self._watched.value().get(key_id)
        if found is None:
            found = self._watched.value(at_most_s_old=_LOOK_FOR_UNKNOWN_S).get(key_id)
        return found


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A token whose signature was good with `key`; it is good from all of `begins_at_s` on."""

    key_id: str
    key: _Key
    caller: Caller
    begins_at_s: Mapping[str, int]  # by claim


class Authenticator:
    """Checks tokens against a set of public keys; two keys may be live during a rotation."""

    def __init__(self, *, keys: Keys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        # What a signature was found good for, by the digest of the token; oldest first.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def authenticate(self, *, token: str, now: datetime) -> Caller:
        """Return the caller that `token` names at the moment `now`.

        :raises TokenRefused: malformed, unknown key, wrong algorithm or signature, expired,
            not yet valid, for another issuer or audience, or a required claim is missing.
        """
        known = self._known_token(token)
        moment_s = now.timestamp()  # times are compared at every call
        if known.caller.expires_at_s <= moment_s - _LEEWAY_S:
            raise TokenRefused("the token has expired")
        for claim, begins_at_s in known.begins_at_s.items():
            if begins_at_s > moment_s + _LEEWAY_S:
                raise TokenRefused(f"the token is not valid yet ({claim})")
        return known.caller

    def _known_token(self, token: str) -> _Known:
        """Return what a token says; its signature is checked once, as long as its key lives.

        A signature costs some 100 us to check, and a bank calls with one token for a day.
        """
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is not None and self._keys.get(known.key_id) is known.key:
            return known
        self._known.pop(digest, None)
        known = _read(*self._verified_claims(token))
        self._known[digest] = known
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    def _verified_claims(self, token: str) -> tuple[str, _Key, dict[str, Any]]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(key_id) if isinstance(key_id, str) else None
            if key is None or not isinstance(key_id, str):
                raise TokenRefused("the token names no key of ours")
            claims = jwt.decode(
                token,
                key.public_key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # Times are compared by authenticate(), with the moment it is given.
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            return key_id, key, claims  # noqa: TRY300 - what is caught is raised above it
        except jwt.PyJWTError as problem:
            raise TokenRefused(f"the token is refused: {type(problem).__name__}") from None
        except (ValueError, TypeError):
            raise TokenRefused("the token is malformed") from None


def _read(key_id: str, key: _Key, claims: Mapping[str, Any]) -> _Known:
    """Return what the claims of a token say.

    :raises TokenRefused: one is not of its type.
    """
    subject, scope, bank = claims["sub"], claims.get("scope", ""), claims.get("bank")
    if not isinstance(subject, str) or not subject or not isinstance(scope, str):
        raise TokenRefused("sub and scope must be text")
    if bank is not None and (not isinstance(bank, str) or not bank):
        raise TokenRefused("bank must be text")
    return _Known(
        key_id=key_id,
        key=key,
        caller=Caller(
            subject=subject,
            scopes=frozenset(part for part in scope.split(_SCOPE_SEPARATOR) if part),
            bank=bank,
            expires_at_s=_whole_seconds(claims, "exp"),
        ),
        begins_at_s={
            claim: _whole_seconds(claims, claim) for claim in ("iat", "nbf") if claim in claims
        },
    )


def read_keys(path: Path) -> dict[str, _Key]:
    """Return the public keys of the JWKS file at `path`, by key id.

    :raises KeysUnreadable: no such file, not a JWKS, no keys, a key without `kid` or `alg`,
        an algorithm that is not allowed, a private or shared key, or a `kid` given twice.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = document["keys"]
        found: dict[str, _Key] = {}
        for entry in entries:
            key_id, algorithm = entry["kid"], entry["alg"]
            if algorithm not in _ALGORITHMS or "d" in entry or entry.get("kty") == "oct":
                raise KeysUnreadable(f"{path}: key {key_id!r}: only public keys of {_ALGORITHMS}")
            if key_id in found:
                raise KeysUnreadable(f"{path}: two keys have the id {key_id!r}")
            loaded = jwt.PyJWK(entry, algorithm=algorithm)
            found[key_id] = _Key(algorithm=algorithm, public_key=loaded.key)
    except OSError as problem:
        raise KeysUnreadable(f"{path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError, jwt.PyJWTError) as problem:
        raise KeysUnreadable(f"{path}: is not a public JWKS ({type(problem).__name__})") from None
    if not found:
        raise KeysUnreadable(f"{path}: holds no keys")
    return found


def bearer_token(header: str) -> str:
    """Return the token of an `Authorization` header.

    :raises TokenRefused: missing, or another scheme.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("a bearer token is required")
    return token.strip()


def _whole_seconds(claims: Mapping[str, Any], claim: str) -> int:
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TokenRefused(f"{claim} must be a whole number of seconds")
    return value
