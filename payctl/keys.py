"""The signing keys of a laptop, and the tokens minted with them (RFC 7517, 7519, 7638).

`signing.pem` is the private key (0600), `jwks.json` the public ones: the newest first and,
after a rotation, the one before it, so that tokens already handed out stay good.
"""

import base64
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

_ALGORITHM = "ES256"
_PRIVATE_NAME = "signing.pem"
_PUBLIC_NAME = "jwks.json"
_OWNER_ONLY = 0o600
_EVERYBODY_READS = 0o644


class KeysUnusable(Exception):
    """The key files cannot be used; the text is one line that names the file."""


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private ES256 key and the id that its public half has in the JWKS."""

    key_id: str
    private_key: ec.EllipticCurvePrivateKey


def ensure_keys(*, folder: Path) -> SigningKey:
    """Return the signing key of `folder`, made on first use, its public half published.

    Two processes that start at once get the same key.

    :raises KeysUnusable: a file is there but cannot be read or is not an ES256 key.
    """
    with _alone_in(folder):
        private_path = folder / _PRIVATE_NAME
        if private_path.exists():
            key = _read_private(private_path)
            published = _read_published(folder / _PUBLIC_NAME)
        else:
            key = _new_key()
            published = []
        # The public half first: nobody may hold a token that no verifier knows.
        if key.key_id not in [entry.get("kid") for entry in published]:
            _publish(folder, [_public_entry(key), *published])
        if not private_path.exists():
            _write_private(private_path, key)
        return key


def rotate_keys(*, folder: Path) -> SigningKey:
    """Return a new signing key of `folder`; the one before it stays in the JWKS.

    :raises KeysUnusable: a file is there but cannot be read or is not an ES256 key.
    """
    ensure_keys(folder=folder)
    with _alone_in(folder):
        key = _new_key()
        previous = _public_entry(_read_private(folder / _PRIVATE_NAME))
        _publish(folder, [_public_entry(key), previous])
        _write_private(folder / _PRIVATE_NAME, key)
        return key


def published_ids(*, path: Path) -> list[str]:
    """Return the ids of the keys in the JWKS file at `path`, newest first.

    :raises KeysUnusable: the file is there but is not a JWKS.
    """
    return [str(entry.get("kid")) for entry in _read_published(path)]


def mint(
    *,
    key: SigningKey,
    subject: str,
    scopes: Iterable[str],
    bank: str | None,
    issuer: str,
    audience: str,
    now: datetime,
    lifetime: timedelta,
) -> str:
    """Return a token for `subject`, good from `now` for `lifetime`.

    `scopes` travel as one text separated by blanks (RFC 8693, 4.2); `bank` binds the
    caller to one bank, None leaves it free.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "scope": " ".join(scopes),
    }
    if bank is not None:
        claims["bank"] = bank
    return jwt.encode(claims, key.private_key, algorithm=_ALGORITHM, headers={"kid": key.key_id})


def write_token(*, path: Path, token: str) -> None:
    """Write `token` to `path`, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, f"{token}\n".encode(), mode=_OWNER_ONLY)


def _new_key() -> SigningKey:
    return _named(ec.generate_private_key(ec.SECP256R1()))


def _named(private_key: ec.EllipticCurvePrivateKey) -> SigningKey:
    return SigningKey(key_id=_thumbprint(_jwk(private_key)), private_key=private_key)


def _jwk(private_key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    return dict(ECAlgorithm.to_jwk(private_key.public_key(), as_dict=True))


def _public_entry(key: SigningKey) -> dict[str, str]:
    return {**_jwk(key.private_key), "kid": key.key_id, "alg": _ALGORITHM, "use": "sig"}


def _thumbprint(jwk: Mapping[str, str]) -> str:
    # RFC 7638: the required members alone, in order of name, no white space.
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read_private(path: Path) -> SigningKey:
    try:
        loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as problem:
        raise KeysUnusable(f"{path}: {problem.strerror}") from None
    except (ValueError, TypeError):
        raise KeysUnusable(f"{path}: is not a private key in PEM") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.curve.name != "secp256r1":
        raise KeysUnusable(f"{path}: is not an ES256 key (P-256)")
    return _named(loaded)


def _read_published(path: Path) -> list[dict[str, str]]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["keys"])
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise KeysUnusable(f"{path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise KeysUnusable(f"{path}: is not a JWKS") from None


def _publish(folder: Path, entries: list[dict[str, str]]) -> None:
    text = json.dumps({"keys": entries}, indent=2) + "\n"
    _write(folder / _PUBLIC_NAME, text.encode(), mode=_EVERYBODY_READS)


def _write_private(path: Path, key: SigningKey) -> None:
    pem = key.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, pem, mode=_OWNER_ONLY)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Put `content` at `path` at once: a reader sees the old file or the whole new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # closing the file, or dying, lets go
        yield
    finally:
        os.close(descriptor)
