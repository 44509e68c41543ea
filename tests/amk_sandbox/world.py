"""The bank, its partner and the insurer's public API: where codes are shown and paid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.money import Currency
from tests.amk_sandbox.harness import CONFIRMED, Client, Clock, FakeInsurer, sandbox
from tests.amk_sandbox.partner import Partner

OPENING = {"CUSTOMER-USD": "100000.00", "INSURER-USD": "0.00", "BANK-USD": "-100000.00"}


@dataclass
class World:
    """The insurer, the sandbox and its partner."""

    clock: Clock
    insurer: FakeInsurer
    client: Client
    partner: Partner

    async def balances(self) -> dict[str, str]:
        state = await self.client.state()
        balances = {one["id"]: one["balance"] for one in state["accounts"]}
        return {name: balances[name] for name in OPENING}

    def refuse_unbalanced_books(self) -> None:
        """Fail unless all entries sum to nothing and the insurer holds what was transferred."""
        books, store = self.client.running.parts.books, self.client.running.parts.store
        for currency in Currency:
            held = {
                one.kind: one.balance.hundredths
                for one in books.accounts()
                if one.balance.currency is currency
            }
            row = store.row(
                "SELECT COALESCE(SUM(hundredths), 0) AS kept FROM transfers"
                " WHERE state <> 'REVERSED' AND currency = ?",
                currency.name,
            )
            assert row is not None
            assert sum(held.values()) == 0
            assert held["INSURER"] == row["kept"]


@asynccontextmanager
async def world(
    tmp_path: Path, *answers: tuple[int, str], clock: Clock | None = None
) -> AsyncIterator[World]:
    """Yield a world whose bill 150001 has a code; the insurer gives `answers` to webhooks."""
    clock = clock or Clock()
    async with (
        FakeInsurer(answers=list(answers) or [(200, CONFIRMED)]).listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        partner = Partner(client, clock, tmp_path / "keys")
        insurer.make_code = partner.show
        await partner.generate()
        found = World(clock, insurer, client, partner)
        yield found
        found.refuse_unbalanced_books()
