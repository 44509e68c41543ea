"""What the gateway knows of every bank, and how `banks.toml` says it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.money import Currency
from chassis.settings import SettingError

_CODE = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Bank:
    """A bank that may bill and confirm: one table of `banks.toml`."""

    code: str
    currencies: frozenset[Currency]  # what its merchant account takes


def read_banks(path: Path) -> dict[str, Bank]:
    """Return the enabled banks of the file at `path`, by code.

    :raises SettingError: unreadable, no bank enabled, or a member is missing or wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise SettingError(f"BANKS_FILE: {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingError(f"BANKS_FILE: {path}: is not TOML: {problem}") from None
    banks = {code: _bank(code, table) for code, table in document.items() if _enabled(code, table)}
    if not banks:
        raise SettingError(f"BANKS_FILE: {path}: no bank is enabled")
    return banks


def texts_of(value: Any) -> list[str]:
    """Return every text inside a parsed document, at any depth."""
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in texts_of(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts_of(one)]
    return [value] if isinstance(value, str) else []


def _enabled(code: str, table: Any) -> bool:
    if not isinstance(table, Mapping) or not isinstance(table.get("enabled", True), bool):
        raise SettingError(f"BANKS_FILE: {code}: must be a table, its `enabled` true or false")
    return bool(table.get("enabled", True))


def _bank(code: str, table: Mapping[str, Any]) -> Bank:
    if not _CODE.fullmatch(code):
        raise SettingError(f"BANKS_FILE: {code}: a bank's code is 2 to 10 of A-Z and 0-9")
    currencies = table.get("currencies")
    if not isinstance(currencies, list) or not currencies:
        raise SettingError(f"BANKS_FILE: {code}.currencies: must list USD, KHR or both")
    unknown = [one for one in currencies if one not in Currency.__members__]
    if unknown:
        raise SettingError(f"BANKS_FILE: {code}.currencies: unknown: {unknown[0]!r}")
    if table.get("verify_bill_payments", False) is not False:
        # Until AMK confirms that its verify covers bill payments there is nobody to ask.
        raise SettingError(f"BANKS_FILE: {code}.verify_bill_payments: is not supported yet")
    return Bank(code=code, currencies=frozenset(Currency(one) for one in currencies))
