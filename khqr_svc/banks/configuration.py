"""What this service reads of `banks.toml`: one table a bank, shared with the gateway.

    [AMK]                                        # enabled = true
    dialect = "AMK"                              # whose requests it understands; the default
    currencies = ["USD", "KHR"]                  # what the merchant account takes
    base_url = "https://..."                     # AMK_BASE_URL in the environment overrides it
    merchant_id = "..."                          # without it: no merchant account
    store_id = "..."
    terminal_id = "..."
    allow_plain_http = "..."                     # why http will do in production
    [AMK.sign_in]                                # path = "/auth/sign-in"
    username = "env:AMK_USERNAME"                # secrets by reference; a relative file is
    password = "file:keys/amk-password"          # looked for under VAR_DIR; enc:v1:... is sealed
    [AMK.qr]                                     # path = "/qr/generator"; without: no codes
    check = ["merchant", "bill_number"]          # compared beside checksum, amount, currency

Members that are not named here belong to others and are left alone.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.money import Currency
from chassis.secrets import SecretReference, secret_reference
from chassis.settings import SettingError, Variables
from khqr_svc.code import CHECKS, MerchantAccount

_CODE = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)
_IDENTIFIER = re.compile(r"[!-~]{1,32}", re.ASCII)
_PATH = re.compile(r"/[!-~]{0,255}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class QrEndpoints:
    """Where a bank signs us in and draws codes, and who we are there."""

    account: MerchantAccount
    base_url: str
    allow_plain_http: str  # why plain http is all right; empty where nobody says so
    sign_in_path: str
    username: SecretReference
    password: SecretReference
    qr_path: str
    checks: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class BankSettings:
    """One enabled bank; without `qr` there is no merchant account that takes codes."""

    code: str
    dialect: str  # whose requests it understands
    currencies: frozenset[Currency]
    qr: QrEndpoints | None


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What a table refers to."""

    variables: Variables
    environ: Mapping[str, str]
    var_dir: Path


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
    *, document: Mapping[str, Any], variables: Variables, environ: Mapping[str, str], var_dir: Path
) -> dict[str, BankSettings]:
    """Return the enabled banks of `document`, by code.

    :raises SettingError: none is enabled, or a member is missing or wrong.
    """
    around = _Around(variables=variables, environ=environ, var_dir=var_dir)
    banks = {}
    for code, table in document.items():
        if not _CODE.fullmatch(code):
            raise SettingError(f"BANKS_FILE: {code}: a bank's code is 2 to 10 of A-Z and 0-9")
        if not isinstance(table, Mapping) or not isinstance(table.get("enabled", True), bool):
            raise SettingError(f"BANKS_FILE: {code}: must be a table, its `enabled` true or false")
        if table.get("enabled", True):
            banks[code] = _bank(code, table, around)
    if not banks:
        raise SettingError("BANKS_FILE: no bank is enabled")
    return banks


def _bank(code: str, table: Mapping[str, Any], around: _Around) -> BankSettings:
    currencies = table.get("currencies")
    if (
        not isinstance(currencies, list)
        or not currencies
        or any(str(one) not in Currency.__members__ for one in currencies)
    ):
        raise SettingError(f"BANKS_FILE: {code}.currencies: must list USD, KHR or both")
    has_account = "merchant_id" in table and "qr" in table
    return BankSettings(
        code=code,
        dialect=_text(table, "dialect", code, default="AMK", pattern=_CODE),
        currencies=frozenset(Currency(one) for one in currencies),
        qr=_qr(code, table, around) if has_account else None,
    )


def _qr(code: str, table: Mapping[str, Any], around: _Around) -> QrEndpoints:
    sign_in, qr = _table(table, "sign_in", code), _table(table, "qr", code)
    checks = qr.get("check", [])
    if not isinstance(checks, list) or not CHECKS.issuperset(map(str, checks)):
        raise SettingError(
            f"BANKS_FILE: {code}.qr.check: must list some of {', '.join(sorted(CHECKS))}"
        )
    return QrEndpoints(
        account=MerchantAccount(
            merchant_id=_text(table, "merchant_id", code, pattern=_IDENTIFIER),
            store_id=_text(table, "store_id", code, default="", pattern=_IDENTIFIER),
            terminal_id=_text(table, "terminal_id", code, default="", pattern=_IDENTIFIER),
        ),
        base_url=_base_url(code, table, around),
        allow_plain_http=_text(table, "allow_plain_http", code, default=""),
        sign_in_path=_text(
            sign_in, "path", f"{code}.sign_in", default="/auth/sign-in", pattern=_PATH
        ),
        username=_secret(sign_in, "username", code, around),
        password=_secret(sign_in, "password", code, around),
        qr_path=_text(qr, "path", f"{code}.qr", default="/qr/generator", pattern=_PATH),
        checks=frozenset(checks),
    )


def _base_url(code: str, table: Mapping[str, Any], around: _Around) -> str:
    written = _text(table, "base_url", code, default="") or None
    url = around.variables.url(f"{code}_BASE_URL", default=written, schemes=("http", "https"))
    return url.rstrip("/")


def _secret(sign_in: Mapping[str, Any], name: str, code: str, around: _Around) -> SecretReference:
    return secret_reference(
        inside="BANKS_FILE",
        name=f"{code}.sign_in.{name}",
        text=sign_in.get(name),
        folder=around.var_dir,
        environ=around.environ,
        variables=around.variables,
    )


def _table(table: Mapping[str, Any], name: str, code: str) -> Mapping[str, Any]:
    value = table.get(name)
    if not isinstance(value, Mapping):
        raise SettingError(f"BANKS_FILE: {code}.{name}: must be a table")
    return value


def _text(
    table: Mapping[str, Any],
    name: str,
    inside: str,
    *,
    default: str | None = None,
    pattern: re.Pattern[str] | None = None,
) -> str:
    value = table.get(name, default)
    if not isinstance(value, str):
        raise SettingError(f"BANKS_FILE: {inside}.{name}: must be text, in quotes")
    if name in table and pattern is not None and not pattern.fullmatch(value):
        raise SettingError(f"BANKS_FILE: {inside}.{name}: does not fit {pattern.pattern}")
    return value
