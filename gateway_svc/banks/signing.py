"""How a request to a bank is signed, as data.

AMK's specification asks for HMAC-SHA512 and does not publish the signed text, so every open
choice is a member of `SigningForm`, one table `[<bank>.signing]` of `banks.toml`. The default
is the convention of the nearest public sibling (ABA PayWay): the values one after another, the
key as UTF-8 text, base64 out. `payctl sign` finds the form from one sample. Pure: no I/O.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

_Kind = TypeVar("_Kind", bound=StrEnum)

FIELDS = ("merchantId", "storeId", "terminalId", "txId", "timestamp")
_MOST_SEPARATOR = 4  # characters; longer ones are a mistake in the file


class SigningFormWrong(ValueError):
    """A form or key that cannot sign; the text is one line and never holds the key."""


class Style(StrEnum):
    """What is written of each field."""

    VALUES = "values"
    """`900000000290002`"""
    PAIRS = "pairs"
    """`merchantId=900000000290002`"""


class KeyEncoding(StrEnum):
    """How the key's text becomes the key's bytes."""

    UTF8 = "utf8"
    BASE64 = "base64"


class Output(StrEnum):
    """How the 64 bytes of the signature are written."""

    BASE64 = "base64"
    HEX_LOWER = "hex"
    HEX_UPPER = "HEX"


@dataclass(frozen=True, kw_only=True)
class SigningForm:
    """Which text is signed, and how key and signature are written."""

    fields: tuple[str, ...] = FIELDS
    style: Style = Style.VALUES
    separator: str = ""
    key_encoding: KeyEncoding = KeyEncoding.UTF8
    output: Output = Output.BASE64


def read_form(table: Mapping[str, Any]) -> SigningForm:
    """Return the form that a parsed `[<bank>.signing]` table states; what it omits is default.

    Members that are not of the form, such as `key`, are left to the caller.

    :raises SigningFormWrong: a member is wrong; the text starts with its name.
    """
    default = SigningForm()
    fields = table.get("fields", list(default.fields))
    if (
        not isinstance(fields, list)
        or not fields
        or not all(isinstance(one, str) and one for one in fields)
        or len(set(fields)) != len(fields)
    ):
        raise SigningFormWrong("fields: must list names of the request, each once")
    separator = table.get("separator", default.separator)
    if not isinstance(separator, str) or len(separator) > _MOST_SEPARATOR:
        raise SigningFormWrong(f"separator: must be text of at most {_MOST_SEPARATOR} characters")
    return SigningForm(
        fields=tuple(fields),
        style=_choice(table, "style", default.style),
        separator=separator,
        key_encoding=_choice(table, "key_encoding", default.key_encoding),
        output=_choice(table, "output", default.output),
    )


def sign(*, form: SigningForm, values: Mapping[str, str], key: str) -> str:
    """Return the signature of `values`, as `form` says, with `key` as AMK wrote it.

    :raises SigningFormWrong: the form signs a field that `values` has not, or the key is empty
        or not of its encoding.
    """
    digest = hmac.digest(
        key_bytes(key=key, encoding=form.key_encoding),
        signed_text(form=form, values=values).encode(),
        hashlib.sha512,
    )
    match form.output:
        case Output.BASE64:
            return base64.b64encode(digest).decode()
        case Output.HEX_LOWER:
            return digest.hex()
        case Output.HEX_UPPER:
            return digest.hex().upper()


def signed_text(*, form: SigningForm, values: Mapping[str, str]) -> str:
    """Return the text whose signature `sign` makes.

    :raises SigningFormWrong: the form signs a field that `values` has not.
    """
    unknown = [name for name in form.fields if name not in values]
    if unknown:
        raise SigningFormWrong(f"fields: the request has no {unknown[0]!r}")
    return form.separator.join(
        values[name] if form.style is Style.VALUES else f"{name}={values[name]}"
        for name in form.fields
    )


def key_bytes(*, key: str, encoding: KeyEncoding) -> bytes:
    """Return the bytes that `key` stands for.

    :raises SigningFormWrong: it is empty, or not of that encoding.
    """
    if not key:
        raise SigningFormWrong("key: is empty")
    if encoding is KeyEncoding.UTF8:
        return key.encode()
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise SigningFormWrong("key: is not base64") from None


def _choice(table: Mapping[str, Any], name: str, default: _Kind) -> _Kind:
    value = table.get(name, default)
    try:
        return type(default)(value)
    except ValueError:
        choices = ", ".join(type(default))
        raise SigningFormWrong(f"{name}: must be one of {choices}") from None
