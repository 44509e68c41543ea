"""The bank's sign-off cases of KHQR, each against a code of its own.

The bank's webhook is lost on purpose where a case sends notices of its own: policies whose payer
is `Fault webhook-never` are paid in silence.
"""

import asyncio
from decimal import Decimal
from typing import Any

from payctl.bill_cases import MISMATCHED, NEVER_MADE, REPLAYED, bill_notice
from payctl.cases import Case
from payctl.examiner import Bill, Examiner, Reply, Unlike

_SILENT = "Fault webhook-never"
_COPIES = 5


def khqr_notice(one: Examiner, bill: Bill, **changes: Any) -> dict[str, Any]:
    """Return the notice that fits the code of `bill`, but for `changes`."""
    return {
        "invoice_number": str(bill.bill_id),
        "status": "SUCCESS",
        "merchant_number": one.merchant,
        "paid_amount": Decimal(bill.amount),
        "currency": bill.currency,
        "paid_datetime": "2025-10-07 12:00:00.123456",
    } | changes


async def success(one: Examiner) -> None:
    """Show a code, scan and pay it: the bank's webhook settles the bill."""
    bill = await _shown(one, payer="Case")
    await _paid(one, bill)
    await one.until_paid(bill.bill_id)


async def not_found(one: Examiner) -> None:
    """Ask a code for a policy that is not, and notify of a bill that is not."""
    reply = await _code(one, f"N{one.new_number()}")
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")
    bill = await _shown(one)
    body = khqr_notice(one, bill, invoice_number=str(NEVER_MADE))
    one.expect_status(await _tell(one, body), 404, "RESOURCE_NOT_FOUND")


async def nothing_due(one: Examiner) -> None:
    """Ask a code for a policy on which nothing is due."""
    policy = await one.policy()
    await one.operate(f"/sandbox/policies/{policy}/settle")
    one.expect_status(await _code(one, policy), 404, "RESOURCE_NOT_FOUND")


async def wrong_amount(one: Examiner) -> None:
    """Notify of another amount: refused, and the bill stays open."""
    bill = await _shown(one)
    await _expect_refused(one, bill, paid_amount=Decimal(bill.amount) + Decimal("0.01"))


async def wrong_currency(one: Examiner) -> None:
    """Notify of another currency: refused, and the bill stays open."""
    bill = await _shown(one)
    await _expect_refused(one, bill, paid_amount=Decimal(615000), currency="KHR")


async def not_paid(one: Examiner) -> None:
    """Notify of money that did not move: the bank, asked, does not know it, and we say so."""
    bill = await _shown(one)
    reply = await _tell(one, khqr_notice(one, bill))
    one.expect_status(reply, 422, "TRANSACTION_VERIFY_FAILED")
    failed = await _tell(one, khqr_notice(one, bill, status="FAILED"))
    one.expect_status(failed, 200)
    standing = await one.standing(bill.bill_id)
    one.expect(that=standing == "PENDING", expected="the bill PENDING", seen=standing)


async def duplicate(one: Examiner) -> None:
    """Send five equal notices at once, and one more: one payment, equal answers."""
    bill = await _shown(one)
    await _paid(one, bill)
    body = khqr_notice(one, bill)
    replies = await asyncio.gather(*(_tell(one, body) for _ in range(_COPIES)))
    for reply in replies:
        _expect_confirmed(one, reply, bill)
    bodies = {reply.body for reply in replies}
    one.expect(that=len(bodies) == 1, expected="equal answers", seen=f"{len(bodies)} different")
    again = await _tell(one, body)
    one.expect(
        that=again.headers.get(REPLAYED) == "true" and again.body in bodies,
        expected="the first answer, Idempotent-Replayed: true",
        seen=f"{again.status} {again.headers.get(REPLAYED)}",
    )


async def hung_up(one: Examiner) -> None:
    """Leave before the answer, and notify again: confirmed, once."""
    bill = await _shown(one)
    await _paid(one, bill)
    body = khqr_notice(one, bill)
    await one.hang_up(f"/{one.bank}/khqr", body)
    _expect_confirmed(one, await _tell(one, body), bill)


async def bank_away(one: Examiner) -> None:
    """Have the bank's verify away, then back: 503 and "try again", then confirmed."""
    bill = await _shown(one)
    await _paid(one, bill)
    body = khqr_notice(one, bill)
    await one.operate("/sandbox/faults/verify-500/on")
    try:
        away = await _tell(one, body)
    finally:
        await one.operate("/sandbox/faults/verify-500/off")
    one.expect_status(away, 503, "SERVER_UNAVAILABLE")
    one.expect(
        that=bool(away.headers.get("retry-after")), expected="Retry-After", seen="no such header"
    )
    _expect_confirmed(one, await _tell(one, body), bill)


async def late(one: Examiner) -> None:
    """Pay the code of a bill that another one replaced meanwhile: taken, and nothing is due."""
    bill = await _shown(one)
    for amount in ("180.00", bill.amount):
        await one.operate(f"/sandbox/policies/{bill.policy}/premium", {"amount": amount})
        newer = await one.bill(policy=bill.policy)
    one.expect(that=newer.bill_id != bill.bill_id, expected="another bill", seen=str(newer.bill_id))
    await _paid(one, bill)
    _expect_confirmed(one, await _tell(one, khqr_notice(one, bill)), bill)
    reply = await one.call("GET", f"/{one.bank}/payments?query={bill.policy}")
    one.expect_status(reply, 404, "RESOURCE_NOT_FOUND")


async def paid_twice(one: Examiner) -> None:
    """Pay a code whose bill was paid in the app: the money is taken, and a person finds it."""
    bill = await _shown(one)
    transfer = f"CERT{one.new_number()}"
    first = await one.call("POST", f"/{one.bank}/payments", bill_notice(bill, transfer))
    one.expect_status(first, 200)
    await _paid(one, bill)
    _expect_confirmed(one, await _tell(one, khqr_notice(one, bill)), bill)
    reply = await one.call(
        "GET",
        f"/ops/exceptions?filter.billId={bill.bill_id}",
        token="operator",  # noqa: S106 - a role's name
    )
    one.expect_status(reply, 200)
    held = [exception["hold"] for exception in reply.data.get("exceptions", [])]
    one.expect(that=held == ["UNAPPLIED"], expected="one exception, UNAPPLIED", seen=str(held))


async def stranger(one: Examiner) -> None:
    """Notify without a token, and with one that may only ask."""
    bill = await _shown(one)
    body, path = khqr_notice(one, bill), f"/{one.bank}/khqr"
    one.expect_status(await one.call("POST", path, body, token=""), 401, "UNAUTHORIZED")
    one.expect_status(await one.call("POST", path, body, token="app"), 403, "FORBIDDEN")  # noqa: S106


async def _code(one: Examiner, policy: str) -> Reply:
    return await one.call(
        "GET",
        f"/khqr?bankCode={one.bank}&billNumber={policy}",
        token="app",  # noqa: S106 - a role's name
    )


async def _shown(one: Examiner, *, payer: str = _SILENT) -> Bill:
    """Return the bill of a new policy whose code is shown."""
    policy = await one.policy(payer=payer)
    reply = await _code(one, policy)
    one.expect_status(reply, 200)
    data = reply.data
    return Bill(
        bill_id=int(data["paymentId"]),
        policy=policy,
        amount=str(data["amount"]),
        currency=data["currency"],
    )


async def _paid(one: Examiner, bill: Bill) -> None:
    """Scan the code and pay it."""
    await one.operate(f"/sandbox/khqr/{bill.bill_id}/pay")


async def _tell(one: Examiner, body: dict[str, Any]) -> Reply:
    return await one.call("POST", f"/{one.bank}/khqr", body)


async def _expect_refused(one: Examiner, bill: Bill, **changes: Any) -> None:
    reply = await _tell(one, khqr_notice(one, bill, **changes))
    one.expect_status(reply, 409, MISMATCHED)
    standing = await one.standing(bill.bill_id)
    if standing != "PENDING":
        raise Unlike(expected="the bill PENDING", seen=standing)


def _expect_confirmed(one: Examiner, reply: Reply, bill: Bill) -> None:
    one.expect_status(reply, 200)
    said = (reply.data.get("status"), reply.data.get("transactionId"))
    right = ("CONFIRMED", f"{one.bank}_KHQR_{bill.bill_id}")
    one.expect(that=said == right, expected=str(right), seen=str(said))


_ROWS = (
    ("success", success, "the bill is PAID by the bank's webhook"),
    ("not found", not_found, "404 for an unknown policy and for an unknown bill"),
    ("nothing due", nothing_due, "404 No premium due"),
    ("wrong amount", wrong_amount, "409, the bill stays open"),
    ("wrong currency", wrong_currency, "409, the bill stays open"),
    ("not paid", not_paid, "422 where the bank does not vouch for it, 200 for FAILED"),
    ("duplicate", duplicate, "equal answers, one payment"),
    ("time-out, then retry", hung_up, "200 CONFIRMED, once"),
    ("bank away, then back", bank_away, "503 with Retry-After, then 200 CONFIRMED"),
    ("late", late, "200 CONFIRMED, nothing is due"),
    ("paid twice", paid_twice, "200, and an exception for a person"),
    ("stranger", stranger, "401 without a token, 403 with one that may not"),
)
KHQR_CASES = tuple(
    Case(name=f"khqr: {name}", channel="KHQR", run=run, expects=expects)
    for name, run, expects in _ROWS
)
