"""What the bank gave its partner: user name, password, and the key that signs questions.

They are given by variables; on a laptop they are made once, as files that only their
owner reads, and the services read the same files.
"""

import base64
import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_OWNER_ONLY = 0o600
_KEY_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class GivenCredentials:
    """What the variables say; None for what is to be made in `folder`."""

    username: str | None
    password: str | None = field(repr=False)
    hmac_key: str | None = field(repr=False)
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The partner's credentials; the key is text, base64 of its bytes."""

    username: str
    password: str = field(repr=False)
    hmac_key: str = field(repr=False)


def open_credentials(*, given: GivenCredentials) -> Credentials:
    """Return what was given, and what `folder` holds for the rest, made on first use.

    Two processes that start at once get the same.

    :raises OSError: a file cannot be made or read.
    """
    folder = given.folder
    return Credentials(
        username=given.username
        or _kept(folder / "amk-username", lambda: f"insurer-{secrets.token_hex(4)}"),
        password=given.password
        or _kept(folder / "amk-password", lambda: secrets.token_urlsafe(24)),
        hmac_key=given.hmac_key
        or _kept(
            folder / "amk-hmac-key",
            lambda: base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
        ),
    )


def _kept(path: Path, make: Callable[[], str]) -> str:
    """Return the text in `path`, which is there whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{make()}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(draft, path)
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
