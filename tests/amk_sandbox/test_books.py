"""The bank's books: whatever happens, they balance."""

import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from amk_sandbox.books import Books
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from chassis.money import Currency, Money
from tests.amk_sandbox.harness import (
    Clock,
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Currency)),
            st.integers(1, 9_000_000),
            st.sampled_from(["stays", "reversed", "fails"]),
        ),
        max_size=8,
    )
)
def test_the_books_balance_whatever_happens(moves: list[tuple[Currency, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(path=Path(folder) / "books.sqlite")
        books = Books(store=store, clock=Clock())
        books.open_accounts()
        store.run("INSERT INTO bills VALUES (1, 'P1', 'P1', 'x', 1, 'USD', '2026-01-01', '')")
        kept = dict.fromkeys(Currency, 0)
        for number, (currency, units, fate) in enumerate(moves):
            amount = Money(hundredths=units * 100, currency=currency)
            try:
                with store.transaction():
                    store.run(
                        "INSERT INTO transfers VALUES"
                        " (?, 1, ?, ?, '', 'PENDING', x'', 0, NULL, 'KHQR')",
                        *(f"T{number}", amount.hundredths, currency.name),
                    )
                    books.transfer(bank_transaction_id=f"T{number}", amount=amount)
                    if fate == "fails":
                        store.run("INSERT INTO no_such_table VALUES (1)")
            except (Refusal, sqlite3.OperationalError):
                continue
            kept[currency] += amount.hundredths
            if fate == "reversed":
                books.reverse(bank_transaction_id=f"T{number}", amount=amount)
                kept[currency] -= amount.hundredths
        for currency in Currency:
            held = {
                account.kind: account.balance.hundredths
                for account in books.accounts()
                if account.balance.currency is currency
            }
            assert sum(held.values()) == 0
            assert held["INSURER"] == kept[currency]
            assert held["CUSTOMER"] >= 0
        store.close()
