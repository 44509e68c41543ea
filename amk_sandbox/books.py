"""The bank's books: accounts, and entries that always come in pairs that sum to nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from amk_sandbox.moments import stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from chassis.money import Currency, Money

_OPENING_HUNDREDTHS = {Currency.USD: 10_000_000, Currency.KHR: 40_000_000_000}
_HOLDERS = {"CUSTOMER": "The customer", "INSURER": "The insurer", "BANK": "The bank's own"}


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account and what is on it."""

    id: str
    kind: str
    holder: str
    balance: Money


class Books:
    """The accounts of the sandbox's bank."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def open_accounts(self) -> int:
        """Return how many accounts were opened: on the first start, one per kind and currency."""
        with self._store.transaction():
            if self._store.row("SELECT 1 FROM accounts"):
                return 0
            for currency, opening in _OPENING_HUNDREDTHS.items():
                for kind, holder in _HOLDERS.items():
                    self._store.run(
                        "INSERT INTO accounts VALUES (?, ?, ?, ?)",
                        *(f"{kind}-{currency.name}", kind, holder, currency.name),
                    )
                amount = Money(hundredths=opening, currency=currency)
                self._move(amount, "OPENING", None, source="BANK", target="CUSTOMER")
        return len(_OPENING_HUNDREDTHS) * len(_HOLDERS)

    def accounts(self) -> list[Account]:
        """Return all accounts with their balances."""
        return [
            Account(
                id=row["id"],
                kind=row["kind"],
                holder=row["holder"],
                balance=Money(hundredths=row["total"], currency=Currency(row["currency"])),
            )
            for row in self._store.rows(
                "SELECT a.*, COALESCE(SUM(e.hundredths), 0) AS total"
                " FROM accounts a LEFT JOIN entries e ON e.account_id = a.id"
                " GROUP BY a.id ORDER BY a.rowid"
            )
        ]

    def transfer(self, *, bank_transaction_id: str, amount: Money) -> None:
        """Move `amount` from the customer to the insurer.

        :raises Refusal: the customer does not have it.
        """
        account = f"CUSTOMER-{amount.currency.name}"
        row = self._store.row(
            "SELECT COALESCE(SUM(hundredths), 0) AS total FROM entries WHERE account_id = ?",
            account,
        )
        if row is None or row["total"] < amount.hundredths:
            raise Refusal(
                status=409, code="INSUFFICIENT_FUNDS", message=f"{account} does not hold {amount}"
            )
        self._move(amount, "TRANSFER", bank_transaction_id, source="CUSTOMER", target="INSURER")

    def reverse(self, *, bank_transaction_id: str, amount: Money) -> None:
        """Move `amount` of the transfer back to the customer."""
        self._move(amount, "REVERSAL", bank_transaction_id, source="INSURER", target="CUSTOMER")

    def _move(
        self, amount: Money, kind: str, bank_transaction_id: str | None, *, source: str, target: str
    ) -> None:
        booked_at = stored(moment=self._clock())
        with self._store.transaction():
            for holder, sign in ((source, -1), (target, 1)):
                self._store.run(
                    "INSERT INTO entries"
                    " (account_id, kind, bank_transaction_id, hundredths, booked_at)"
                    " VALUES (?, ?, ?, ?, ?)",
                    f"{holder}-{amount.currency.name}",
                    kind,
                    bank_transaction_id,
                    sign * amount.hundredths,
                    booked_at,
                )
