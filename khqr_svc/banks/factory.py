"""KhqrServiceFactory: a bank's code -> the bank that draws the codes.

`DIALECTS` is the one place where a bank's own way of drawing is named (docs/second-bank.md).
"""

from collections.abc import Mapping
from typing import Protocol

from chassis.errors import ServiceError
from chassis.money import Currency
from chassis.settings import SettingError
from khqr_svc.banks.amk import AmkKhqrBank
from khqr_svc.banks.configuration import BankSettings, QrEndpoints
from khqr_svc.banks.endpoint import Surroundings
from khqr_svc.banks.port import KhqrBank


class MakeBank(Protocol):
    """Makes a bank that speaks one dialect; nothing is connected."""

    def __call__(
        self, *, settings: BankSettings, qr: QrEndpoints, around: Surroundings
    ) -> KhqrBank:
        """Return the bank of `settings`."""


DIALECTS: Mapping[str, MakeBank] = {
    "AMK": AmkKhqrBank,
}


class KhqrServiceFactory:
    """The enabled banks, each made once."""

    def __init__(
        self,
        *,
        settings: Mapping[str, BankSettings],
        around: Surroundings,
        dialects: Mapping[str, MakeBank] = DIALECTS,
    ) -> None:
        """Make every bank of `settings` that has a merchant account.

        :raises SettingError: a bank speaks a dialect that is not in `dialects`.
        """
        self._banks = {code: _made(one, dialects, around) for code, one in settings.items()}

    def bank(self, *, bank_code: str) -> KhqrBank:
        """Return the bank with the code `bank_code`.

        :raises ServiceError: BANK_NOT_FOUND (unknown or disabled), MERCHANT_NOT_BIND (we have
            no merchant account there).
        """
        if bank_code not in self._banks:
            raise ServiceError(
                reason="BANK_NOT_FOUND",
                message="Bank configuration not found",
                details=f"Bank: {bank_code}",
            )
        bank = self._banks[bank_code]
        if bank is None:
            raise ServiceError(
                reason="MERCHANT_NOT_BIND",
                message="Merchant account not configured",
                details=f"Bank: {bank_code}",
            )
        return bank

    async def close(self) -> None:
        """Stop what the banks have under way."""
        for bank in self._banks.values():
            if bank is not None:
                await bank.close()


def require_currency(*, bank: KhqrBank, currency: Currency) -> None:
    """Return if the merchant account at `bank` takes `currency`.

    :raises ServiceError: MERCHANT_NOT_BIND: it does not.
    """
    if currency not in bank.currencies:
        raise ServiceError(
            reason="MERCHANT_NOT_BIND",
            message="No merchant account for the bill's currency",
            details=f"Bank: {bank.code}, currency: {currency.value}",
        )


def _made(
    settings: BankSettings, dialects: Mapping[str, MakeBank], around: Surroundings
) -> KhqrBank | None:
    if settings.qr is None:
        return None
    if settings.dialect not in dialects:
        raise SettingError(
            f"BANKS_FILE: {settings.code}.dialect: must be one of {', '.join(dialects)}"
        )
    return dialects[settings.dialect](settings=settings, qr=settings.qr, around=around)
