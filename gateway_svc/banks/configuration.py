"""`banks.toml`: one table a bank, read once; secrets by reference, identifiers as text.

`env:NAME` names a variable, `file:PATH` a file (a relative path starts at VAR_DIR), `enc:v1:...`
is the secret sealed for its place, such as AMK.signing.key (`payctl encrypt`). What other
services read from the same file is left alone here.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from chassis.money import Currency
from chassis.secrets import secret_reference
from chassis.settings import SettingError, Variables
from gateway_svc.banks.amk import AnswerShape
from gateway_svc.banks.signing import SigningForm, SigningFormWrong, read_form
from gateway_svc.verification import MerchantAccount

_CODE = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)
_PATH = "/amkpayway/v1/api/payment/payment-verify"  # the specification's
_IDENTIFIER = re.compile(r"[!-~]{1,32}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """How a bank is asked about a payment: `[<bank>.verify]` and `[<bank>.signing]`."""

    url: str
    form: SigningForm
    key: str
    shape: AnswerShape

    def __repr__(self) -> str:
        """Return nothing that could hold the key."""
        return "VerifyConfig(...)"


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """One enabled bank, as the file states it."""

    code: str
    currencies: frozenset[Currency]
    account: MerchantAccount | None
    verify: VerifyConfig | None
    dialect: str = "AMK"  # whose questions it understands


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where values come from, and how strictly they are taken."""

    variables: Variables
    environ: Mapping[str, str]
    var_dir: Path
    production: bool


def read_document(path: Path) -> dict[str, Any]:
    """Return the parsed file at `path`.

    :raises SettingError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise SettingError(f"BANKS_FILE: {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingError(f"BANKS_FILE: {path}: is not TOML: {problem}") from None


def read_banks(
    *,
    document: Mapping[str, Any],
    variables: Variables,
    environ: Mapping[str, str],
    var_dir: Path,
    production: bool,
) -> dict[str, BankConfig]:
    """Return the enabled banks of `document`, by code.

    :raises SettingError: no bank enabled, or a member is missing or wrong.
    """
    source = _Source(variables=variables, environ=environ, var_dir=var_dir, production=production)
    banks = {
        code: _bank(code, table, source)
        for code, table in document.items()
        if _enabled(code, table)
    }
    if not banks:
        raise SettingError("BANKS_FILE: no bank is enabled")
    return banks


def _enabled(code: str, table: Any) -> bool:
    if not isinstance(table, Mapping) or not isinstance(table.get("enabled", True), bool):
        raise SettingError(f"BANKS_FILE: {code}: must be a table, its `enabled` true or false")
    return bool(table.get("enabled", True))


def _bank(code: str, table: Mapping[str, Any], source: _Source) -> BankConfig:
    if not _CODE.fullmatch(code):
        raise SettingError(f"BANKS_FILE: {code}: a bank's code is 2 to 10 of A-Z and 0-9")
    currencies = table.get("currencies")
    if not isinstance(currencies, list) or not currencies:
        raise SettingError(f"BANKS_FILE: {code}.currencies: must list USD, KHR or both")
    unknown = [one for one in currencies if str(one) not in Currency.__members__]
    if unknown:
        raise SettingError(f"BANKS_FILE: {code}.currencies: unknown: {unknown[0]!r}")
    if table.get("verify_bill_payments", False) is not False:
        # Until AMK confirms that its verify covers bill payments there is nobody to ask.
        raise SettingError(f"BANKS_FILE: {code}.verify_bill_payments: is not supported yet")
    account = _account(code, table)
    return BankConfig(
        code=code,
        currencies=frozenset(Currency(one) for one in currencies),
        account=account,
        verify=None if account is None else _verify(code, table, source),
        dialect=_dialect(code, table),
    )


def _dialect(code: str, table: Mapping[str, Any]) -> str:
    dialect = table.get("dialect", "AMK")
    if not isinstance(dialect, str) or not _CODE.fullmatch(dialect):
        raise SettingError(f"BANKS_FILE: {code}.dialect: must be 2 to 10 of A-Z and 0-9, in quotes")
    return dialect


def _account(code: str, table: Mapping[str, Any]) -> MerchantAccount | None:
    names = ("merchant_id", "store_id", "terminal_id")
    if not any(name in table for name in names):
        return None
    for name in names:
        value = table.get(name)
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            raise SettingError(f"BANKS_FILE: {code}.{name}: must be text of 1 to 32 characters")
    return MerchantAccount(**{name: table[name] for name in names})


def _verify(code: str, table: Mapping[str, Any], source: _Source) -> VerifyConfig | None:
    verify = table.get("verify")
    if verify is None:
        return None
    signing = table.get("signing", {})
    if not isinstance(verify, Mapping) or not isinstance(signing, Mapping):
        raise SettingError(f"BANKS_FILE: {code}: verify and signing must be tables")
    url = _url(code, table, verify, source)
    if url.startswith("http://") and source.production and not _says_why(table):
        raise SettingError(
            f"BANKS_FILE: {code}.verify: asks over plain http; set allow_plain_http to the reason"
        )
    key = secret_reference(
        inside="BANKS_FILE",
        name=f"{code}.signing.key",
        text=signing.get("key"),
        folder=source.var_dir,
        environ=source.environ,
        variables=source.variables,
    )
    try:
        form = read_form(signing)
    except SigningFormWrong as problem:
        raise SettingError(f"BANKS_FILE: {code}.signing.{problem}") from None
    return VerifyConfig(
        url=url,
        form=form,
        key=key.read(),
        shape=_shape(code, verify),
    )


def _shape(code: str, table: Mapping[str, Any]) -> AnswerShape:
    changes: dict[str, Any] = {}
    for one in fields(AnswerShape):
        value = table.get(one.name)
        if value is None:
            continue
        is_set = isinstance(one.default, frozenset)
        if is_set and isinstance(value, list) and all(isinstance(part, str) for part in value):
            changes[one.name] = frozenset(value)
        elif not is_set and isinstance(value, str) and value:
            changes[one.name] = value
        else:
            kind = "a list of texts" if is_set else "a text"
            raise SettingError(f"BANKS_FILE: {code}.verify.{one.name}: must be {kind}")
    return replace(AnswerShape(), **changes)


def _url(code: str, table: Mapping[str, Any], verify: Mapping[str, Any], source: _Source) -> str:
    """Return where the question goes: `verify.url`, or `verify.path` of the bank's base URL."""
    url = verify.get("url", "")
    if not url:
        base = source.variables.text(f"{code}_BASE_URL", default=str(table.get("base_url", "")))
        path = verify.get("path", _PATH)
        url = f"{base.rstrip('/')}{path}" if base else ""
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise SettingError(f"BANKS_FILE: {code}.verify.url: must start with https:// or http://")
    return url


def _says_why(table: Mapping[str, Any]) -> bool:
    reason = table.get("allow_plain_http", "")
    return isinstance(reason, str) and bool(reason.strip())
