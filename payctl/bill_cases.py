"""The bank's sign-off cases of bill payment, each against bills of its own."""

from decimal import Decimal
from typing import Any

from payctl.cases import Case
from payctl.examiner import Bill, Examiner, Reply

MISMATCHED = "PAYMENT_VERIFICATION_DATA_MISMATCHED"
NEVER_MADE = 999_999_999_999  # a bill's number that nobody reaches
REPLAYED = "idempotent-replayed"


def bill_notice(bill: Bill, transfer: str, **changes: Any) -> dict[str, Any]:
    """Return the notice that fits `bill`, but for `changes`."""
    return {
        "id": bill.bill_id,
        "policyNumber": bill.policy,
        "amount": Decimal(bill.amount),
        "currency": bill.currency,
        "bankTransactionId": transfer,
        "payer": "Case",
        "paidDate": "20251007120000",
    } | changes


async def success(one: Examiner) -> None:
    """Ask, pay, and see the bill paid."""
    bill = await one.bill()
    transfer = _transfer(one)
    reply = await _tell(one, bill_notice(bill, transfer))
    _expect_confirmed(one, reply, transfer)
    standing = await one.standing(bill.bill_id)
    one.expect(that=standing == "PAID", expected="the bill PAID", seen=standing)
    reply = await one.call("GET", f"/{one.bank}/payments?query={bill.policy}")
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")


async def not_found(one: Examiner) -> None:
    """Ask for a policy that is not, and pay a bill that is not."""
    reply = await one.call("GET", f"/{one.bank}/payments?query=N{one.new_number()}")
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")
    bill = await one.bill()
    reply = await _tell(one, bill_notice(bill, _transfer(one), id=NEVER_MADE))
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")


async def nothing_due(one: Examiner) -> None:
    """Ask for a policy on which nothing is due."""
    policy = await one.policy()
    await one.operate(f"/sandbox/policies/{policy}/settle")
    reply = await one.call("GET", f"/{one.bank}/payments?query={policy}")
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")


async def wrong_amount(one: Examiner) -> None:
    """Pay a cent too much: refused, and the bill stays open."""
    bill = await one.bill()
    await _expect_refused(one, bill, amount=Decimal(bill.amount) + Decimal("0.01"))


async def wrong_currency(one: Examiner) -> None:
    """Pay in the other currency: refused, and the bill stays open."""
    bill = await one.bill()
    await _expect_refused(one, bill, amount=Decimal(615000), currency="KHR")


async def duplicate(one: Examiner) -> None:
    """Notify again: the first answer again; with other content: refused."""
    bill = await one.bill()
    transfer = _transfer(one)
    first = await _tell(one, bill_notice(bill, transfer))
    _expect_confirmed(one, first, transfer)
    again = await _tell(one, bill_notice(bill, transfer))
    _expect_same(one, again, first)
    other = await _tell(one, bill_notice(bill, transfer, amount=Decimal("1.00")))
    one.expect_status(other, 409, MISMATCHED)


async def hung_up(one: Examiner) -> None:
    """Leave before the answer, and notify again: confirmed, once."""
    bill = await one.bill()
    transfer = _transfer(one)
    await one.hang_up(f"/{one.bank}/payments", bill_notice(bill, transfer))
    reply = await _tell(one, bill_notice(bill, transfer))
    _expect_confirmed(one, reply, transfer)
    again = await _tell(one, bill_notice(bill, transfer))
    _expect_same(one, again, reply)


async def late(one: Examiner) -> None:
    """Pay yesterday's bill: with today's amount it is taken, with yesterday's refused."""
    bill = await one.bill()
    await one.operate(f"/sandbox/policies/{bill.policy}/premium", {"amount": "180.00"})
    newer = await one.bill(policy=bill.policy)
    one.expect(that=newer.bill_id != bill.bill_id, expected="another bill", seen=str(newer.bill_id))
    refused = await _tell(one, bill_notice(bill, _transfer(one)))
    one.expect_status(refused, 409, MISMATCHED)
    transfer = _transfer(one)
    taken = await _tell(one, bill_notice(bill, transfer, amount=Decimal("180.00")))
    _expect_confirmed(one, taken, transfer)


async def paid_twice(one: Examiner) -> None:
    """Pay with a second transfer: refused, so that the bank gives it back."""
    bill = await one.bill()
    transfer = _transfer(one)
    _expect_confirmed(one, await _tell(one, bill_notice(bill, transfer)), transfer)
    second = await _tell(one, bill_notice(bill, _transfer(one)))
    one.expect_status(second, 409, MISMATCHED)


async def stranger(one: Examiner) -> None:
    """Notify without a token, and with one that may only ask."""
    bill = await one.bill()
    body = bill_notice(bill, _transfer(one))
    path = f"/{one.bank}/payments"
    one.expect_status(await one.call("POST", path, body, token=""), 401, "UNAUTHORIZED")
    one.expect_status(await one.call("POST", path, body, token="app"), 403, "FORBIDDEN")  # noqa: S106
    standing = await one.standing(bill.bill_id)
    one.expect(that=standing == "PENDING", expected="the bill PENDING", seen=standing)


def _transfer(one: Examiner) -> str:
    return f"CERT{one.new_number()}"


async def _tell(one: Examiner, body: dict[str, Any]) -> Reply:
    return await one.call("POST", f"/{one.bank}/payments", body)


async def _expect_refused(one: Examiner, bill: Bill, **changes: Any) -> None:
    reply = await _tell(one, bill_notice(bill, _transfer(one), **changes))
    one.expect_status(reply, 409, MISMATCHED)
    standing = await one.standing(bill.bill_id)
    one.expect(that=standing == "PENDING", expected="the bill PENDING", seen=standing)


def _expect_confirmed(one: Examiner, reply: Reply, transfer: str) -> None:
    one.expect_status(reply, 200)
    said = (reply.data.get("status"), reply.data.get("transactionId"))
    one.expect(
        that=said == ("CONFIRMED", transfer), expected=f"CONFIRMED {transfer}", seen=str(said)
    )


def _expect_same(one: Examiner, again: Reply, first: Reply) -> None:
    one.expect(
        that=(again.status, again.body) == (first.status, first.body),
        expected="the first answer, byte for byte",
        seen=f"{again.status} {again.body[:200]}",
    )
    one.expect(
        that=again.headers.get(REPLAYED) == "true",
        expected="Idempotent-Replayed: true",
        seen=str(again.headers.get(REPLAYED)),
    )


_ROWS = (
    ("success", success, "200 CONFIRMED, the bill is PAID, nothing is due"),
    ("not found", not_found, "404 for an unknown policy and for an unknown bill"),
    ("nothing due", nothing_due, "404 No premium due"),
    ("wrong amount", wrong_amount, "409, the bill stays open"),
    ("wrong currency", wrong_currency, "409, the bill stays open"),
    ("duplicate", duplicate, "the first answer again; 409 for other content"),
    ("time-out, then retry", hung_up, "200 CONFIRMED, once"),
    ("late", late, "200 with today's amount, 409 with yesterday's"),
    ("paid twice", paid_twice, "409 for the second transfer"),
    ("stranger", stranger, "401 without a token, 403 with one that may not"),
)
BILL_CASES = tuple(
    Case(name=f"bill: {name}", channel="BILL", run=run, expects=expects)
    for name, run, expects in _ROWS
)
