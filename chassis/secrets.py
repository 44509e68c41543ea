"""Secrets by reference: a file of settings says where a secret is, or holds it sealed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chassis.redaction import known_secrets
from chassis.sealed import is_sealed
from chassis.settings import SettingError, Variables

_MOST_BYTES = 1 << 16  # a larger file is no secret


@dataclass(frozen=True, kw_only=True)
class SecretReference:
    """Where a secret is; `name` is what a complaint about it starts with."""

    name: str
    file: Path | None
    value: str = field(default="", repr=False)  # of the variable, which cannot change
    refers: bool = True  # to a variable or a file; False where the value stood in place, sealed

    def read(self) -> str:
        """Return the secret as it is now, so that a replaced file is a replaced secret.

        :raises SettingError: the file cannot be read, holds nothing, or what is sealed: for
            which name would not be plain.
        """
        value = self.value if self.file is None else _text_of(self.name, self.file)
        if not value:
            raise SettingError(f"{self.name}: the secret it names is empty")
        if self.refers and is_sealed(value):
            raise SettingError(f"{self.name}: what it names is sealed; write that in its place")
        known_secrets.remember(value=value)
        return value


def secret_reference(
    *,
    inside: str,
    name: str,
    text: object,
    folder: Path,
    environ: Mapping[str, str],
    variables: Variables,
) -> SecretReference:
    """Return what `text` refers to: `env:NAME`, `file:PATH` from `folder` on, or `enc:v1:...`.

    `name` is the setting's in the file `inside`, such as AMK.signing.key in BANKS_FILE; a
    sealed value opens for that name alone, with the keys that `variables` name.

    :raises SettingError: it is the secret itself, no reference we know, or does not open; `text`
        is not repeated, as it may be the secret.
    """
    complaint = f"{inside}: {name}"
    kind, separator, where = text.partition(":") if isinstance(text, str) else ("", "", "")
    if separator and where:
        match kind:
            case "env":
                return SecretReference(name=complaint, file=None, value=environ.get(where, ""))
            case "file":
                return SecretReference(name=complaint, file=folder / where)
            case "enc":
                try:
                    value = variables.unsealed(name=name, sealed=str(text))
                except SettingError as problem:
                    told = str(problem).removeprefix(f"{name}: ")
                    raise SettingError(f"{complaint}: {told}") from None
                return SecretReference(name=complaint, file=None, value=value, refers=False)
    raise SettingError(
        f"{complaint}: must be env:NAME, file:PATH or enc:v1:..., not the secret itself"
    )


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
