"""The faults of payment-verify and of webhooks, by their effect on a code that is paid."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.amk_sandbox.fault_cases import BILL, BY_CODE, generate, meeting
from tests.amk_sandbox.harness import PACE, TOKEN, eventually
from tests.amk_sandbox.partner import VERIFY
from tests.amk_sandbox.world import World

Check = Callable[[World], Awaitable[None]]


async def _pay(found: World) -> Any:
    status, scan = await found.client.post(f"/sandbox/khqr/{BILL}/pay")
    assert status == 200
    return scan


async def _verify(found: World) -> Any:
    answer = await found.partner.verify(found.partner.signed(str(BILL)))
    return answer.json


async def _data(found: World) -> dict[str, str]:
    data: dict[str, str] = (await _verify(found))["data"]
    return data


def _bodies(found: World) -> list[dict[str, str]]:
    return [json.loads(body, parse_float=str) for body in found.insurer.notices]


async def verify_timeout(found: World) -> None:
    found.partner.timeout_s = 0.4
    with pytest.raises(TimeoutError):
        await _verify(found)
    calls = found.client.running.parts.bank_parts.calls
    await eventually(lambda: calls.counts().get("verify") == 1)  # kept once the caller has left


async def verify_trickle(found: World) -> None:
    form = found.partner.signed(str(BILL))
    began_s = time.monotonic()
    async with found.client.session.post(found.client.base + VERIFY, data=form) as response:
        assert response.status == 200
        assert await response.content.readexactly(4) == b'{"co'
        assert time.monotonic() - began_s >= 3 * PACE.byte_s


async def verify_500(found: World) -> None:
    assert (await found.partner.verify(found.partner.signed(str(BILL)))).status == 500


async def verify_html(found: World) -> None:
    answer = await found.partner.verify(found.partner.signed(str(BILL)))
    assert (answer.status, answer.content_type) == (200, "text/html")


async def verify_pending(found: World) -> None:
    assert (await _data(found))["status"] == "PENDING"  # true, and not counted
    await _pay(found)
    assert [(await _data(found))["status"] for _ in range(3)] == ["PENDING", "PENDING", "SUCCESS"]


async def verify_unknown(found: World) -> None:
    assert (await _data(found))["status"] == "PENDING"  # the bank knows what it issued
    await _pay(found)
    assert [(await _verify(found))["code"] for _ in range(3)] == ["01", "01", "00"]
    assert (await _data(found))["status"] == "SUCCESS"


async def verify_other_amount(found: World) -> None:
    assert (await _data(found))["amount"] == "25.00"  # not paid, nothing to misreport
    await _pay(found)
    assert (await _data(found))["amount"] == "26.00"


async def verify_other_currency(found: World) -> None:
    await _pay(found)
    assert (await _data(found))["currency"] == "KHR"


async def verify_other_merchant(found: World) -> None:
    await _pay(found)
    data = await _data(found)
    assert (data["merchantId"], data["status"]) == ("900000000290999", "SUCCESS")


async def webhook_five(found: World) -> None:
    found.insurer.gate = asyncio.Event()
    paying = asyncio.create_task(_pay(found))
    await eventually(lambda: len(found.insurer.notices) == 5)  # none waits for another's answer
    found.insurer.gate.set()
    scan = await paying
    assert len(set(found.insurer.notices)) == 1
    assert len(scan["transfers"]) == len(scan["notices"]) == 1
    assert len(scan["notices"][0]["answers"]) == 5
    assert scan["transfers"][0]["state"] == "CONFIRMED"


async def webhook_late(found: World) -> None:
    scan = await _pay(found)
    assert scan["transfers"][0]["state"] == "PENDING"
    found.clock.advance(2.9)
    assert await found.client.running.parts.notices.run_once() == 0
    found.clock.advance(0.1)
    assert await found.client.running.parts.notices.run_once() == 1
    assert len(found.insurer.notices) == 1
    assert (await found.client.state())["transfers"][0]["state"] == "CONFIRMED"


async def webhook_never(found: World) -> None:
    scan = await _pay(found)
    assert scan["notices"][0]["state"] == "WITHHELD"
    found.clock.advance(100_000)
    assert await found.client.running.parts.notices.run_once() == 0
    assert found.insurer.notices == []
    assert (await _data(found))["status"] == "SUCCESS"
    await found.client.post(f"/sandbox/notices/{scan['notices'][0]['id']}/resend")
    assert len(found.insurer.notices) == 1


async def webhook_forged(found: World) -> None:
    scan = await _pay(found)
    assert found.insurer.notice_tokens != [f"Bearer {TOKEN}"]
    assert len(found.insurer.notice_tokens) == 1
    assert scan["transfers"][0]["state"] == "REFUSED"
    assert (await _data(found))["status"] == "SUCCESS"


async def webhook_microseconds(found: World) -> None:
    found.clock.advance(0.999999)
    scan = await _pay(found)
    first, second = _bodies(found)
    assert first.pop("paid_datetime") == "2026-11-23 12:00:00.999999"
    assert second.pop("paid_datetime") == "2026-11-23 12:00:00.000000"
    assert first == second
    assert len(scan["transfers"]) == 1


async def webhook_wrong_amount(found: World) -> None:
    await _pay(found)
    assert _bodies(found)[0]["paid_amount"] == "26.00"
    assert (await _data(found))["amount"] == "25.00"


async def webhook_failed_then_success(found: World) -> None:
    scan = await _pay(found)
    assert [body["status"] for body in _bodies(found)] == ["FAILED", "SUCCESS"]
    assert len(scan["transfers"]) == 1
    assert scan["notices"][0]["bankTransactionId"] is None


async def webhook_paid_twice(found: World) -> None:
    scan = await _pay(found)
    first, second = scan["transfers"]
    assert first["bankTransactionId"] != second["bankTransactionId"]
    assert len({body["paid_datetime"][:19] for body in _bodies(found)}) == 2
    assert (await _data(found))["bankTransactionId"] == second["bankTransactionId"]
    assert (await found.balances())["INSURER-USD"] == "50.00"


async def webhook_no_transfer(found: World) -> None:
    scan = await _pay(found)
    assert scan["transfers"] == []
    assert _bodies(found)[0]["status"] == "SUCCESS"
    assert found.insurer.notice_tokens == [f"Bearer {TOKEN}"]
    assert (await _data(found))["status"] == "PENDING"
    assert (await found.balances())["INSURER-USD"] == "0.00"


AFTER_A_CODE: dict[str, Check] = {
    "verify-timeout": verify_timeout,
    "verify-trickle": verify_trickle,
    "verify-500": verify_500,
    "verify-html": verify_html,
    "verify-pending": verify_pending,
    "verify-unknown": verify_unknown,
    "verify-other-amount": verify_other_amount,
    "verify-other-currency": verify_other_currency,
    "verify-other-merchant": verify_other_merchant,
    "webhook-five": webhook_five,
    "webhook-late": webhook_late,
    "webhook-never": webhook_never,
    "webhook-forged": webhook_forged,
    "webhook-microseconds": webhook_microseconds,
    "webhook-wrong-amount": webhook_wrong_amount,
    "webhook-failed-then-success": webhook_failed_then_success,
    "webhook-paid-twice": webhook_paid_twice,
    "webhook-no-transfer": webhook_no_transfer,
}


@pytest.mark.parametrize("by_policy", [False, True], ids=["switched on", "by policy"])
@pytest.mark.parametrize("code", AFTER_A_CODE)
async def test_a_paid_code_meets_the_fault(tmp_path: Path, code: str, by_policy: bool) -> None:
    fault = BY_CODE[code]
    async with meeting(tmp_path, fault, by_policy=by_policy) as (found, payer):
        assert (await generate(found, payer)).status == 200
        await AFTER_A_CODE[code](found)


def test_every_fault_of_verify_and_webhook_is_tested() -> None:
    points = ("verify", "webhook")
    assert set(AFTER_A_CODE) == {code for code in BY_CODE if code.startswith(points)}
