"""`payctl encrypt`: a secret -> `enc:v1:...`, which may lie in a repository; and the key for it."""

import getpass
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from chassis.sealed import (
    KEY_BYTES,
    NONCE_BYTES,
    SealBroken,
    key_line,
    read_key_file,
    seal,
)
from chassis.settings import SettingError, own_variables
from payctl.api import AsJson

_OWNER_ONLY = 0o600
_MOST_BYTES = 1 << 16  # a larger text is no secret


def encrypt_command(
    *,
    name: Annotated[
        str,
        typer.Option(help="The setting: AMK.signing.key in banks.toml, or a variable's name."),
    ] = "",
    key_file: Annotated[
        Path | None, typer.Option(help="The key file; else CONFIG_KEY_FILE names it.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key file here instead, and seal nothing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a secret from standard input, or ask for it, and print it sealed for its setting."""
    if new_key is not None:
        if name:
            raise SettingError("--new-key: makes a key and seals nothing; leave --name out")
        make_key_file(path=new_key, key=secrets.token_bytes(KEY_BYTES))
        said = f"New key in {new_key}. Keep it apart from what it seals."
        typer.echo(json.dumps({"keyFile": str(new_key)}) if as_json else said)
        return
    if not name:
        raise SettingError(
            "--name: is required, such as AMK.signing.key; a value opens for it alone"
        )
    keys = _keys(key_file)
    sealed = seal(
        text=_secret(name), name=name, key=keys[0], nonce=secrets.token_bytes(NONCE_BYTES)
    )
    typer.echo(json.dumps({"name": name, "sealed": sealed}) if as_json else sealed)


def make_key_file(*, path: Path, key: bytes) -> None:
    """Write `key` to a new file at `path` that its owner alone may read.

    :raises SettingError: the file is there already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise SettingError(
            f"--new-key: {path}: is there already; what its keys sealed would never open again"
        ) from None
    except OSError as problem:
        raise SettingError(f"--new-key: {path}: {problem.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), _OWNER_ONLY)  # whatever the umask took away
        file.write(key_line(key=key))
        file.flush()
        os.fsync(file.fileno())


def _keys(key_file: Path | None) -> tuple[bytes, ...]:
    path = key_file or own_variables().path("CONFIG_KEY_FILE")
    try:
        return read_key_file(path=path, must_be_private=False)
    except SealBroken as problem:
        raise SettingError(f"CONFIG_KEY_FILE: {problem}") from None


def _secret(name: str) -> str:
    """Return the secret, never from the arguments: every user of the machine can list those."""
    if sys.stdin.isatty():
        text = getpass.getpass(f"{name}: ")
    else:
        try:
            text = sys.stdin.buffer.read(_MOST_BYTES + 1).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SettingError("standard input: is not UTF-8 text") from None
    if not text:
        raise SettingError("standard input: holds no secret")
    if len(text) > _MOST_BYTES:
        raise SettingError(f"standard input: holds more than {_MOST_BYTES} bytes")
    return text
