"""The insurer's policies: what is due on each, and who may say that nothing is.

A policy has nothing due because its operator says so, or because a `.success` event
says that its obligation (policy, due date, currency) is settled; never because the
bank moved money.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from amk_sandbox.faults import FAULTS
from amk_sandbox.moments import stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from chassis.money import Currency, Money, MoneyError, parse_money

_BY_OPERATOR = "operator"
_NUMBER = re.compile(r"[A-Za-z0-9]{9,10}", re.ASCII)
_RAISE_PERCENT = 10
_RAISE_STEP_HUNDREDTHS = {Currency.USD: 100, Currency.KHR: 10_000}  # a dollar, 100 riel

# number, application number, payer, amount, currency, due on, note
_SEEDS = (
    ("P123456789", None, "John Doe", "150.00", "USD", "2025-11-15", "the specification's"),
    ("P100000002", None, "Sok Dara", "615000", "KHR", "2025-12-01", "in riel"),
    ("P100000003", None, "ចាន់ សុភា", "89.50", "USD", "2025-12-10", "a payer in Khmer"),
    ("P100000004", "A20250004", "Kim Sreymom", "320.00", "USD", "2025-12-15", "by application"),
    ("P100000005", None, "ហេង វិចិត្រ", "1230000", "KHR", "2026-01-05", "riel, payer in Khmer"),
    ("P100000006", None, "Chea Bopha", "0.00", "USD", "2026-01-31", "nothing due (amount 0)"),
    ("P100000007", None, "Long Pisey", "200.00", "USD", "2026-02-01", "raise its premium"),
    ("P100000008", None, "Mao Rithy", "0.01", "USD", "2026-02-14", "the smallest premium"),
    ("P100000009", None, "Nhem Sovann", "100", "KHR", "2026-03-01", "the smallest in riel"),
    ("P10000010", None, "Ouk Chanthou", "75.25", "USD", "2026-03-15", "a number of nine"),
    ("P100000011", None, "Phan Kosal", "12500.00", "USD", "2026-12-31", "a large premium"),
    ("P100000012", "A20250012", "Tep Vanna", "4100000", "KHR", "2026-12-31", "riel, application"),
    # One for each fault, known to the bank by its payer.
    *(
        (fault.policy, None, fault.payer, "25.00", "USD", "2026-12-31", fault.words)
        for fault in FAULTS
        if fault.policy
    ),
)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy and its next premium; `settled_by` tells why nothing is due, if so."""

    number: str
    application_number: str | None
    payer: str
    premium: Money
    due_on: date
    settled_by: str | None
    settled_at: str | None
    note: str

    @property
    def is_due(self) -> bool:
        """Whether there is something to pay."""
        return self.settled_by is None and self.premium.hundredths > 0


class Policies:
    """The policies of the sandbox."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def seed(self) -> int:
        """Return how many policies were made: those that are not there yet."""
        made = 0
        with self._store.transaction():
            for number, application, payer, amount, code, due_on, note in _SEEDS:
                premium = parse_money(text=amount, currency=Currency.parse(code))
                made += self._store.run(
                    "INSERT INTO policies VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, ?)"
                    " ON CONFLICT DO NOTHING",
                    *(number, application, payer, code, premium.hundredths, due_on, note),
                )
        return made

    def every(self) -> list[Policy]:
        """Return all policies, in order of number."""
        return [_policy(row) for row in self._store.rows("SELECT * FROM policies ORDER BY rowid")]

    def find(self, *, number: str) -> Policy:
        """Return the policy with this policy number or application number.

        :raises Refusal: there is none.
        """
        row = self._store.row(
            "SELECT * FROM policies WHERE number = ?1 OR application_number = ?1", number
        )
        if row is None:
            raise Refusal(status=404, code="UNKNOWN_POLICY", message="No such policy")
        return _policy(row)

    def open(self, *, number: str, payer: str, amount: str, currency: str, due_on: date) -> Policy:
        """Return the new policy, or the one that is there if it says the same.

        :raises Refusal: a member is wrong; or the number is another policy's.
        """
        if not _NUMBER.fullmatch(number):
            raise Refusal(
                status=400, code="BAD_NUMBER", message="number must be 9 or 10 letters or digits"
            )
        if not payer:
            raise Refusal(status=400, code="BAD_PAYER", message="payer must not be empty")
        try:
            code = Currency.parse(currency)
            premium = parse_money(text=amount, currency=code)
        except MoneyError as problem:
            raise Refusal(
                status=400, code="BAD_AMOUNT", message=f"amount or currency {problem}"
            ) from None
        if not 0 < premium.hundredths < 2**63:
            raise Refusal(status=400, code="BAD_AMOUNT", message="amount must be positive")
        self._store.run(
            "INSERT INTO policies VALUES (?, NULL, ?, ?, ?, ?, NULL, NULL, ?)"
            " ON CONFLICT DO NOTHING",
            *(number, payer, code.value, premium.hundredths, due_on.isoformat(), _BY_OPERATOR),
        )
        policy = self.find(number=number)
        if (policy.number, policy.payer, policy.premium, policy.due_on) != (
            *(number, payer, premium),
            due_on,
        ):
            raise Refusal(status=409, code="NUMBER_TAKEN", message="Another policy has this number")
        return policy

    def change_premium(self, *, number: str, amount: str | None) -> Policy:
        """Return the policy with `amount` as its premium, or a tenth more if it is None.

        :raises Refusal: no such policy; or not an amount of its currency; or negative.
        """
        policy = self.find(number=number)
        if amount is None:
            premium = _raised(policy.premium)
        else:
            try:
                premium = parse_money(text=amount, currency=policy.premium.currency)
            except MoneyError as problem:
                raise Refusal(status=400, code="BAD_AMOUNT", message=f"amount {problem}") from None
            if not 0 <= premium.hundredths < 2**63:
                raise Refusal(status=400, code="BAD_AMOUNT", message="amount must not be negative")
        self._store.run(
            "UPDATE policies SET hundredths = ? WHERE number = ?",
            *(premium.hundredths, policy.number),
        )
        return self.find(number=policy.number)

    def settle(self, *, number: str) -> Policy:
        """Return the policy, with nothing due by its operator's word.

        :raises Refusal: no such policy.
        """
        policy = self.find(number=number)
        self._settle(policy, by=_BY_OPERATOR)
        return self.find(number=policy.number)

    def make_due(self, *, number: str, due_on: date | None) -> Policy:
        """Return the policy with its premium due again, on `due_on`.

        Without a date, a premium that was paid falls due a year later (an obligation is
        paid once), and one that its operator had set aside on its old date.

        :raises Refusal: no such policy; or its premium is nothing.
        """
        policy = self.find(number=number)
        if not policy.premium.hundredths:
            raise Refusal(
                status=409, code="NO_PREMIUM", message="Its premium is 0: set a premium first"
            )
        if due_on is None:
            was_paid = policy.settled_by not in (None, _BY_OPERATOR)
            due_on = _year_later(policy.due_on) if was_paid else policy.due_on
        self._store.run(
            "UPDATE policies SET settled_by = NULL, settled_at = NULL, due_on = ? WHERE number = ?",
            *(due_on.isoformat(), policy.number),
        )
        return self.find(number=policy.number)

    def apply_success(
        self, *, event_id: str, policy_number: str, due_on: str, currency: str
    ) -> bool:
        """Return whether the event was new; then the premium it names is settled.

        An event about another due date or currency than the present one changes nothing.
        """
        with self._store.transaction():
            row = self._store.row(
                "SELECT * FROM policies WHERE number = ? AND due_on = ? AND currency = ?",
                *(policy_number, due_on, currency),
            )
            new = self._store.run(
                "INSERT INTO seen_events VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                *(event_id, policy_number, int(row is not None), stored(moment=self._clock())),
            )
            if new and row is not None:
                self._settle(_policy(row), by=event_id)
            return bool(new)

    def _settle(self, policy: Policy, *, by: str) -> None:
        self._store.run(
            "UPDATE policies SET settled_by = ?, settled_at = ? WHERE number = ?",
            *(by, stored(moment=self._clock()), policy.number),
        )


def _policy(row: sqlite3.Row) -> Policy:
    return Policy(
        number=row["number"],
        application_number=row["application_number"],
        payer=row["payer"],
        premium=Money(hundredths=row["hundredths"], currency=Currency(row["currency"])),
        due_on=date.fromisoformat(row["due_on"]),
        settled_by=row["settled_by"],
        settled_at=row["settled_at"],
        note=row["note"],
    )


def _raised(premium: Money) -> Money:
    step = _RAISE_STEP_HUNDREDTHS[premium.currency]
    wanted = premium.hundredths * (100 + _RAISE_PERCENT)
    steps = -(-wanted // (100 * step))  # rounded up to a whole step
    hundredths = max(steps * step, premium.hundredths + step)
    return Money(hundredths=hundredths, currency=premium.currency)


def _year_later(day: date) -> date:
    leap_day = (2, 29)
    if (day.month, day.day) == leap_day:
        return date(day.year + 1, 2, 28)
    return day.replace(year=day.year + 1)
