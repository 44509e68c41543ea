"""Secrets by reference: a file of settings says where a secret is, never what it is."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chassis.redaction import known_secrets
from chassis.settings import SettingError

_MOST_BYTES = 1 << 16  # a larger file is no secret


@dataclass(frozen=True, kw_only=True)
class SecretReference:
    """Where a secret is; `name` is what a complaint about it starts with."""

    name: str
    file: Path | None
    value: str = field(default="", repr=False)  # of the variable, which cannot change

    def read(self) -> str:
        """Return the secret as it is now, so that a replaced file is a replaced secret.

        :raises SettingError: the file cannot be read, or holds nothing.
        """
        value = self.value if self.file is None else _text_of(self.name, self.file)
        if not value:
            raise SettingError(f"{self.name}: the secret it names is empty")
        known_secrets.remember(value=value)
        return value


def secret_reference(
    *, name: str, text: object, folder: Path, environ: Mapping[str, str]
) -> SecretReference:
    """Return what `text` refers to: `env:NAME`, or `file:PATH` from `folder` on.

    :raises SettingError: it is the secret itself, or no reference we know; `text` is not
        repeated, as it may be the secret.
    """
    kind, separator, where = text.partition(":") if isinstance(text, str) else ("", "", "")
    if separator and where:
        match kind:
            case "env":
                return SecretReference(name=name, file=None, value=environ.get(where, ""))
            case "file":
                return SecretReference(name=name, file=folder / where)
            case "enc":
                raise SettingError(f"{name}: enc: is not supported yet; use env:NAME or file:PATH")
    raise SettingError(f"{name}: must be env:NAME or file:PATH, not the secret itself")


def refuse_disclosed(*, texts: Iterable[tuple[str, str]], digests: frozenset[str]) -> None:
    """Return if no text of the (name, text) pairs has one of `digests` (SHA-256 of its UTF-8).

    :raises SettingError: one has; the complaint holds its name alone.
    """
    for name, text in texts:
        if hashlib.sha256(text.encode(errors="replace")).hexdigest() in digests:
            raise SettingError(f"{name}: holds a credential that was disclosed; have it replaced")


def texts_of_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Walk the variables as (name, text), and what small files they name in `..._FILE` hold."""
    for name, value in environ.items():
        yield name, value
        if name.endswith("_FILE") and _is_small_file(value):
            content = Path(value).read_text(encoding="utf-8", errors="replace")
            yield name, content.rstrip("\r\n")


def texts_of_document(value: object, *, name: str) -> Iterator[tuple[str, str]]:
    """Walk every text inside a parsed document, at any depth, as (name, text)."""
    match value:
        case str():
            yield name, value
        case Mapping():
            for one in value.values():
                yield from texts_of_document(one, name=name)
        case list():
            for one in value:
                yield from texts_of_document(one, name=name)


def _text_of(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as problem:
        raise SettingError(f"{name}: {path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{name}: {path}: is not UTF-8 text") from None


def _is_small_file(path: str) -> bool:
    try:
        found = Path(path)
        return found.is_file() and found.stat().st_size <= _MOST_BYTES
    except (OSError, ValueError):
        return False
