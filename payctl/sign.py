"""`payctl sign`: how a bank may want a request signed, and which way made a given hash.

AMK does not publish the text that it signs. One worked sample of theirs is enough: the form
that reproduces its hash is printed as the `[<bank>.signing]` block of `banks.toml`.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from chassis.settings import SettingError
from gateway_svc.banks.signing import (
    FIELDS,
    KeyEncoding,
    Output,
    SigningForm,
    SigningFormWrong,
    Style,
    key_bytes,
    sign,
)

SHOWN_SEPARATORS = ("", "|", "&", ",")
TRIED_SEPARATORS = (*SHOWN_SEPARATORS, ":", ";", "-", "_", ".", "#", "/", " ", "\n")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to sign, and what it gives."""

    form: SigningForm
    signature: str


def candidates(
    *,
    values: Mapping[str, str],
    key: str,
    orders: Iterable[tuple[str, ...]] = (FIELDS,),
    separators: Iterable[str] = SHOWN_SEPARATORS,
) -> Iterator[Candidate]:
    """Walk every way to sign `values` with `key`; a key that is not base64 is not read as such.

    :raises SigningFormWrong: the key is empty.
    """
    encodings = [KeyEncoding.UTF8]
    key_bytes(key=key, encoding=KeyEncoding.UTF8)
    try:
        key_bytes(key=key, encoding=KeyEncoding.BASE64)
        encodings.append(KeyEncoding.BASE64)
    except SigningFormWrong:
        pass
    for fields, style, separator, encoding, output in product(
        orders, Style, tuple(separators), encodings, Output
    ):
        form = SigningForm(
            fields=fields,
            style=style,
            separator=separator,
            key_encoding=encoding,
            output=output,
        )
        yield Candidate(form=form, signature=sign(form=form, values=values, key=key))


def find_form(*, values: Mapping[str, str], key: str, sample: str) -> SigningForm | None:
    """Return the form that gives `sample`, which may be percent-encoded, or None.

    Beside the given order of the fields, every other order is tried, and every part of them.
    """
    wanted = {sample, unquote(sample)}
    orders = (order for count in range(len(FIELDS), 0, -1) for order in permutations(FIELDS, count))
    found = candidates(values=values, key=key, orders=orders, separators=TRIED_SEPARATORS)
    return next((one.form for one in found if one.signature in wanted), None)


def as_toml(*, bank: str, form: SigningForm, key_file: Path) -> str:
    """Return the block of `banks.toml` that states `form`, the key by reference."""
    return "\n".join(
        (
            f"[{bank}.signing]",
            f"fields = {json.dumps(list(form.fields))}",
            f"style = {json.dumps(form.style)}",
            f"separator = {json.dumps(form.separator)}",
            f"key_encoding = {json.dumps(form.key_encoding)}",
            f"output = {json.dumps(form.output)}",
            f"key = {json.dumps(f'file:{key_file}')}",
        )
    )


def sign_command(
    *,
    key_file: Annotated[Path, typer.Option(help="The file that holds the bank's key.")],
    merchant: Annotated[str, typer.Option(help="merchantId of the request.")],
    store: Annotated[str, typer.Option(help="storeId.")],
    terminal: Annotated[str, typer.Option(help="terminalId.")],
    tx: Annotated[str, typer.Option(help="txId: the bill's number.")],
    timestamp: Annotated[str, typer.Option(help="timestamp: milliseconds since 1970.")],
    sample: Annotated[
        str | None, typer.Option("--hash", help="A hash of the bank's own, to find its form.")
    ] = None,
    bank: Annotated[str, typer.Option(help="The bank's code, for the block.")] = "AMK",
) -> None:
    """Print every way a request may be signed; with --hash, the one that gives it."""
    values = dict(zip(FIELDS, (merchant, store, terminal, tx, timestamp), strict=True))
    key = _key(key_file)
    if sample is None:
        for one in candidates(values=values, key=key):
            form = one.form
            typer.echo(
                f"{form.style:6}  {json.dumps(form.separator):4} {form.key_encoding:6} "
                f"{form.output:6}  {one.signature}"
            )
        return
    form_found = find_form(values=values, key=key, sample=sample.strip())
    if form_found is None:
        sys.stderr.write("No form gives this hash: is every value, and the key, the sample's?\n")
        raise typer.Exit(1)
    typer.echo(as_toml(bank=bank, form=form_found, key_file=key_file))


def _key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as problem:
        raise SettingError(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path}: is not UTF-8 text") from None
    if not key:
        raise SettingError(f"{path}: holds no key")
    return key
