"""An amount is the same number from the bytes of a webhook to the bytes of an event."""

import asyncio
import json
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.system import running_system

AMOUNTS = st.one_of(
    st.tuples(st.just("USD"), st.decimals("0.01", "9999999999999999.99", places=2)),
    st.tuples(st.just("KHR"), st.decimals("1", "9999999999999999", places=0)),
)


def spellings(currency: str, amount: Decimal) -> tuple[str, ...]:
    """Return the ways a bank may write `amount`."""
    plain = f"{amount:f}"
    if currency == "KHR":
        return (plain, f"{plain}.00")
    return (plain, f"{plain}0", plain.rstrip("0").rstrip("."))


@settings(max_examples=4, deadline=None)
@given(st.lists(AMOUNTS, min_size=15, max_size=15))
def test_an_amount_survives_the_whole_way(amounts: list[tuple[str, Decimal]]) -> None:
    asyncio.run(_pay_each(amounts))


async def _pay_each(amounts: list[tuple[str, Decimal]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tmp_path = Path(folder)
        url = f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}"
        async with running_system(tmp_path=tmp_path, database_url=url) as system:
            for number, (currency, amount) in enumerate(amounts):
                policy = f"P{number:09d}"
                written = spellings(currency, amount)
                shown = f"{amount:f}"
                system.integration.answers[policy] = (
                    200,
                    f'{{"policyNumber":"{policy}","payer":"J","amount":{written[0]},'
                    f'"currency":"{currency}","dueDate":"2025-11-15"}}',
                )
                bill = await system.get(f"/AMK/payments?query={policy}")
                assert f'"amount":{shown},'.encode() in bill.body
                notice = (
                    f'{{"id":{bill.json["data"]["id"]},"policyNumber":"{policy}",'
                    f'"amount":{written[number % len(written)]},"currency":"{currency}",'
                    f'"bankTransactionId":"T{number}","payer":"J","paidDate":"20251007120000"}}'
                )
                assert (await system.post(notice.encode())).status == 200
                rows = await system.rows(
                    "SELECT value FROM outbox WHERE topic LIKE '%.success' ORDER BY id DESC LIMIT 1"
                )
                assert json.loads(rows[0][0])["amount"] == shown
            stored = await system.rows("SELECT currency, amount_hundredths FROM payments")
            assert sorted(stored) == sorted(
                (currency, int(amount * 100)) for currency, amount in amounts
            )
