"""The environment, and the files it names, read once into values that do not change.

What a variable means is its service's business; here is only how one is written:
`NAME`, or `NAME_FILE` for a file that holds the value, in either of them as it is or sealed
(`enc:v1:...`, `chassis.sealed`). A complaint names the variable and never
repeats its value: it may be the secret of the variable beside it.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from chassis.redaction import is_secret_name, known_secrets
from chassis.sealed import SealBroken, is_sealed, read_key_file, unseal

_PORT_LIMIT = 65536


class SettingError(Exception):
    """A variable has a value we cannot use; the text is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host and port to listen on; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Variables:
    """The variables of one process, read by name and kind."""

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._unsealed: dict[str, str] = {}

    @property
    def environ(self) -> Mapping[str, str]:
        """All of them as they are written, `.env` included."""
        return self._environ

    def text(self, name: str, *, default: str | None = None) -> str:
        """Return the value of `name`, or what the file in `{name}_FILE` holds.

        :raises SettingError: not set and without default; or both set; or unreadable.
        """
        value, path = self._environ.get(name), self._environ.get(f"{name}_FILE")
        if value is not None and path is not None:
            raise SettingError(f"{name}: set either {name} or {name}_FILE, not both")
        if path is not None:
            try:
                value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as problem:
                raise SettingError(f"{name}_FILE: {path}: {problem.strerror}") from None
            except UnicodeDecodeError:
                raise SettingError(f"{name}_FILE: {path}: is not UTF-8 text") from None
        if not value:
            if default is None:
                raise SettingError(f"{name}: is required")
            return default
        if is_sealed(value):
            value = self._unsealed[name] = self.unsealed(name=name, sealed=value)
        elif is_secret_name(name):
            known_secrets.remember(value=value)
        return value

    def unsealed(self, *, name: str, sealed: str) -> str:
        """Return what an `enc:v1:` text holds for the setting `name`.

        :raises SettingError: it does not open, or `CONFIG_KEY_FILE` cannot be used.
        """
        path = self.path("CONFIG_KEY_FILE")
        production = self._environ.get("ENVIRONMENT") == "production"
        try:
            keys = read_key_file(path=path, must_be_private=production)
        except SealBroken as problem:
            raise SettingError(f"CONFIG_KEY_FILE: {problem}") from None
        try:
            value = unseal(sealed=sealed, name=name, keys=keys)
        except SealBroken as problem:
            raise SettingError(f"{name}: {problem}") from None
        known_secrets.remember(value=value)
        return value

    def unsealed_texts(self) -> Iterable[tuple[str, str]]:
        """Walk what variables held sealed, as (name, text)."""
        return list(self._unsealed.items())

    def choice(self, name: str, *, choices: tuple[str, ...], default: str) -> str:
        """Return the value of `name`, one of `choices`."""
        value = self.text(name, default=default)
        if value not in choices:
            raise SettingError(f"{name}: must be one of {', '.join(choices)}")
        return value

    def integer(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return the value of `name` as a whole number from `least` to `most`."""
        value = self.text(name, default=str(default))
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not least <= int(value) <= most:
            raise SettingError(f"{name}: must be a whole number from {least} to {most}")
        return int(value)

    def address(self, name: str, *, default: str) -> Address:
        """Return the value of `name` as one `host:port`."""
        found = self.addresses(name, default=default)
        if len(found) != 1:
            raise SettingError(f"{name}: must be one host:port")
        return found[0]

    def addresses(self, name: str, *, default: str) -> tuple[Address, ...]:
        """Return the value of `name` as `host:port`, several separated by commas."""
        value = self.text(name, default=default)
        return tuple(_address(name, part.strip()) for part in value.split(","))

    def url(self, name: str, *, default: str | None = None, schemes: tuple[str, ...]) -> str:
        """Return the value of `name` as a URL of one of `schemes`.

        The value itself is not repeated in the error: it may hold a password.
        """
        value = self.text(name, default=default)
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        given = [one for key, one in parse_qsl(parts.query) if is_secret_name(key)]
        for secret in (parts.password or "", *given):
            known_secrets.remember(value=secret)
            known_secrets.remember(value=unquote(secret))
        scheme = parts.scheme
        if scheme not in schemes:
            raise SettingError(f"{name}: must be a URL that starts with {' or '.join(schemes)}")
        return value

    def path(self, name: str, *, default: Path | None = None) -> Path:
        """Return the value of a variable that names a file or folder itself."""
        value = self._environ.get(name)
        if value:
            return Path(value)
        if default is None:
            raise SettingError(f"{name}: is required")
        return default


def process_variables(*, environ: Mapping[str, str], dotenv: Path) -> Variables:
    """Return the variables of this process; on a laptop those in `.env` fill the gaps.

    :raises SettingError: a line of the file is not `NAME=value`.
    """
    merged = dict(environ)
    if environ.get("ENVIRONMENT", "development") == "development" and dotenv.is_file():
        for number, raw in enumerate(dotenv.read_text(encoding="utf-8").splitlines(), start=1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            name, separator, value = line.partition("=")
            if not separator or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name.strip()):
                raise SettingError(f"{dotenv}: line {number} is not NAME=value")
            merged.setdefault(name.strip(), value.strip().strip("\"'"))
    return Variables(environ=merged)


def own_variables() -> Variables:
    """Return the variables of the running process."""
    return process_variables(environ=os.environ, dotenv=Path(".env"))


def _address(name: str, text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not re.fullmatch(r"[0-9]{1,5}", port):
        raise SettingError(f"{name}: must be host:port")
    if int(port) >= _PORT_LIMIT:
        raise SettingError(f"{name}: port must be below {_PORT_LIMIT}")
    return Address(host=host.strip("[]"), port=int(port))
