"""What the gateway knows of every bank, and the one question it asks each."""

from dataclasses import dataclass
from typing import Protocol

from chassis.errors import ServiceError
from chassis.money import Currency
from gateway_svc.verification import Finding, MerchantAccount


class Verifier(Protocol):
    """Asks a bank whether a bill was paid."""

    async def verify(self, *, bill_id: int, ends_at_s: float) -> Finding:
        """Return the bank's word, or that there is none, by `ends_at_s` of the monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Bank:
    """A bank that may bill and confirm."""

    code: str
    currencies: frozenset[Currency]  # what its merchant account takes
    account: MerchantAccount | None = None
    verifier: Verifier | None = None

    def merchant(self) -> MerchantAccount:
        """Return our account there.

        :raises ServiceError: MERCHANT_NOT_BIND; there is none, or nobody to ask about it.
        """
        if self.account is None or self.verifier is None:
            raise ServiceError(
                reason="MERCHANT_NOT_BIND",
                message="Merchant account not configured",
                details=f"Bank: {self.code}",
            )
        return self.account
