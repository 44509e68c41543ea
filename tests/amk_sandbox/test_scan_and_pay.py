"""A code is shown, scanned and paid; the insurer is told as the specification says."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from amk_sandbox.bank import RESEND_PAUSES_S
from amk_sandbox.qr_image import draw_png
from tests.amk_sandbox.harness import CONFIRMED, TOKEN, Clock, FakeInsurer, sandbox
from tests.amk_sandbox.world import OPENING, world

PAID = {"CUSTOMER-USD": "99850.00", "INSURER-USD": "150.00", "BANK-USD": "-100000.00"}
PAID_TWICE = {"CUSTOMER-USD": "99700.00", "INSURER-USD": "300.00", "BANK-USD": "-100000.00"}
MISMATCH = (409, '{"success":false,"error":{"code":"PAYMENT_VERIFICATION_DATA_MISMATCHED"}}')
EXAMPLE = (
    b'{"invoice_number":"150001","status":"SUCCESS","merchant_number":"900000000290002",'
    b'"paid_amount":150.00,"currency":"USD","paid_datetime":"2026-11-23 12:00:00.000000"}'
)


async def test_the_webhook_is_the_specifications_example_member_for_member(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        status, scan = await found.client.post("/sandbox/khqr/150001/pay")
        assert status == 200
        assert found.insurer.notices == [EXAMPLE]
        assert found.insurer.notice_tokens == [f"Bearer {TOKEN}"]
        (transfer,), (notice,) = scan["transfers"], scan["notices"]
        assert (transfer["state"], transfer["channel"]) == ("CONFIRMED", "KHQR")
        assert notice["body"].encode() == EXAMPLE
        assert notice["answers"][0]["answer"] == CONFIRMED
        assert (scan["code"]["state"], scan["code"]["timesPaid"]) == ("PAID", 1)
        assert await found.balances() == PAID


async def test_microseconds_and_riel_are_written_as_the_specification_says(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        await found.partner.generate(bill="150002", amount="615000", currency="KHR")
        found.clock.advance(0.123456)
        await found.client.post("/sandbox/khqr/150002/pay")
        assert b'"paid_amount":615000,"currency":"KHR"' in found.insurer.notices[0]
        assert b'"paid_datetime":"2026-11-23 12:00:00.123456"' in found.insurer.notices[0]


async def test_the_app_asks_for_the_code_as_the_specification_says(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        status, answer = await found.client.post("/sandbox/khqr?query=P123456789")
        assert status == 200
        assert found.insurer.code_queries == [
            "bankCode=%7B%22id%22%3A%22AMK%22%2C%22bank%22%3A%22AMK%22%7D&billNumber=P123456789"
        ]
        assert found.insurer.code_tokens == [f"Bearer {TOKEN}"]
        assert answer["code"]["billId"] == 150001
        async with found.client.session.get(found.client.base + answer["code"]["image"]) as image:
            assert (image.status, image.content_type) == (200, "image/png")


async def test_the_app_has_a_token_of_its_own_where_there_is_one(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        (tmp_path / "keys" / "app.token").write_text("app-token\n")
        await found.client.post("/sandbox/khqr?query=P123456789")
        assert found.insurer.code_tokens == ["Bearer app-token"]


async def test_show_and_pay_is_one_step_from_a_terminal(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        _, scan = await found.client.post("/sandbox/khqr/pay?query=P123456789")
        assert scan["transfers"][0]["state"] == "CONFIRMED"
        assert len(found.insurer.notices) == 1


NO_CODES = [
    ((404, '{"error":{"code":"RESOURCE_NOT_FOUND","message":"No premium due"}}'), 404),
    ((503, '{"error":{"code":"SERVER_UNAVAILABLE","message":"no"}}'), 502),
    ((200, "{}"), 502),
    ((200, '{"data":{"qrCode":"%%%"}}'), 502),
    ((200, '{"data":{"qrCode":"aGVsbG8="}}'), 502),
    ((200, json.dumps({"data": {"qrCode": b64encode(draw_png(text="x")).decode()}})), 502),
]


@pytest.mark.parametrize(("answer", "status"), NO_CODES)
async def test_a_code_that_cannot_be_shown_is_said(
    tmp_path: Path, answer: tuple[int, str], status: int
) -> None:
    async def show(_: str) -> tuple[int, str]:
        return answer

    async with world(tmp_path) as found:
        found.insurer.make_code = show
        got, document = await found.client.post("/sandbox/khqr/pay?query=P123456789")
        assert got == status
        assert document["error"]["message"].startswith("The insurer")
        assert found.insurer.notices == []


async def test_a_code_is_not_paid_where_it_cannot_be(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        status, answer = await found.client.post("/sandbox/khqr/7/pay")
        assert (status, answer["error"]["code"]) == (404, "UNKNOWN_CODE")
        await found.partner.generate(bill="150009", amount="100000.01")
        status, answer = await found.client.post("/sandbox/khqr/150009/pay")
        assert (status, answer["error"]["code"]) == (409, "INSUFFICIENT_FUNDS")
        found.clock.advance(30 * 60)
        status, answer = await found.client.post("/sandbox/khqr/150001/pay")
        assert (status, answer["error"]["code"]) == (409, "CODE_EXPIRED")
        assert found.insurer.notices == []
        assert await found.balances() == OPENING
        assert (await found.client.state())["transfers"] == []


async def test_a_code_can_be_paid_twice_and_verify_names_the_latest(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        await found.client.post("/sandbox/khqr/150001/pay")
        status, answer = await found.client.post("/sandbox/khqr/150001/pay")
        assert (status, answer["error"]["code"]) == (409, "ALREADY_PAID")
        await found.client.post("/sandbox/khqr/150001/pay?again=true")
        assert len(set(found.insurer.notices)) == 2
        assert await found.balances() == PAID_TWICE
        data = (await found.partner.verify(found.partner.signed())).json["data"]
        assert data["bankTransactionId"] == "AMK202611230002"
        assert data["paidDatetime"] == "2026-11-23 12:00:01.000000"


async def test_an_older_code_of_a_bill_can_be_paid(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        (older,) = (await found.client.state())["codes"]
        found.clock.advance(60)
        await found.partner.generate()
        await found.client.post(f"/sandbox/khqr/150001/pay?code={older['id']}")
        paid = {one["id"]: one["timesPaid"] for one in (await found.client.state())["codes"]}
        assert paid == {older["id"]: 1, older["id"] + 1: 0}


async def test_a_409_does_not_reverse_money_that_is_settled(tmp_path: Path) -> None:
    async with world(tmp_path, MISMATCH) as found:
        _, scan = await found.client.post("/sandbox/khqr/150001/pay")
        assert scan["transfers"][0]["state"] == "REFUSED"
        assert await found.balances() == PAID
        number = scan["transfers"][0]["bankTransactionId"]
        status, answer = await found.client.post(f"/sandbox/transfers/{number}/reverse")
        assert (status, answer["error"]["code"]) == (409, "NOT_REVERSIBLE")
        found.clock.advance(1000)
        assert await found.client.running.parts.notices.run_once() == 0
        assert await found.balances() == PAID


async def test_a_failed_webhook_is_sent_again_byte_for_byte_until_it_is_answered(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, (503, ""), (429, ""), (200, CONFIRMED)) as found:
        notices = found.client.running.parts.notices
        _, scan = await found.client.post("/sandbox/khqr/150001/pay")
        assert scan["transfers"][0]["state"] == "PENDING"
        assert await notices.run_once() == 0
        for pause_s in RESEND_PAUSES_S[:2]:
            found.clock.advance(pause_s)
            assert await notices.run_once() == 1
        assert found.insurer.notices == [EXAMPLE] * 3
        assert (await found.client.state())["transfers"][0]["state"] == "CONFIRMED"
        found.clock.advance(1000)
        assert await notices.run_once() == 0


async def test_sending_by_itself_ends_and_an_operator_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, (500, "")) as found:
        _, scan = await found.client.post("/sandbox/khqr/150001/pay")
        for _ in range(20):
            found.clock.advance(1000)
            await found.client.running.parts.notices.run_once()
        assert len(found.insurer.notices) == 1 + len(RESEND_PAUSES_S)
        found.insurer.answers = [(200, CONFIRMED)]
        number = scan["transfers"][0]["bankTransactionId"]
        _, answer = await found.client.post(f"/sandbox/transfers/{number}/resend")
        assert answer["transfer"]["state"] == "CONFIRMED"
        _, answer = await found.client.post(f"/sandbox/notices/{scan['notices'][0]['id']}/resend")
        assert answer["notice"]["answers"][0]["sentBy"] == "OPERATOR"
        assert set(found.insurer.notices) == {EXAMPLE}
        assert (await found.client.post("/sandbox/notices/99/resend"))[0] == 404


async def test_a_yes_stays_whatever_is_answered_later(tmp_path: Path) -> None:
    async with world(tmp_path, (200, CONFIRMED), MISMATCH) as found:
        await found.client.post("/sandbox/faults/webhook-microseconds/on", {"times": 1})
        _, scan = await found.client.post("/sandbox/khqr/150001/pay")
        assert [notice["state"] for notice in scan["notices"]] == ["CONFIRMED", "REFUSED"]
        assert scan["transfers"][0]["state"] == "CONFIRMED"
        _, answer = await found.client.post(f"/sandbox/notices/{scan['notices'][0]['id']}/resend")
        assert answer["notice"]["answers"][0]["status"] == 409
        assert answer["notice"]["state"] == "CONFIRMED"


async def test_codes_transfers_and_webhooks_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with world(tmp_path, (503, ""), clock=clock) as found:
        await found.client.post("/sandbox/khqr/150001/pay")
        before = await found.client.state()
    del before["consoleUrl"]  # the insurer moved to another port
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        assert (await client.state()).items() >= before.items()
        clock.advance(60)
        assert await client.running.parts.notices.run_once() == 1
        assert insurer.notices == [EXAMPLE]
        assert (await client.state())["transfers"][0]["state"] == "CONFIRMED"


async def test_a_bill_that_is_known_by_its_code_alone_is_not_paid_as_a_bill(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        status, answer = await found.client.post("/sandbox/bills/150001/pay")
        assert (status, answer["error"]["code"]) == (404, "UNKNOWN_BILL")
        await found.client.post("/sandbox/lookup?query=P123456789")
        assert (await found.client.post("/sandbox/bills/150001/pay"))[0] == 200
        assert (await found.client.state())["codes"][0]["policyNumber"] == "P123456789"


async def test_a_store_made_before_there_were_codes_is_carried_on(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        store = found.client.running.parts.store
        await found.client.post("/sandbox/pay?query=P123456789")
        store.run("ALTER TABLE transfers DROP COLUMN channel")
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        (transfer,) = (await client.state())["transfers"]
        assert (transfer["state"], transfer["channel"]) == ("CONFIRMED", "BILL")


async def test_the_state_tells_what_happened_last_and_for_whom(tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        _, shown = await found.client.post("/sandbox/khqr?query=P100000003")
        assert shown["code"]["shownFor"] == "P100000003"
        assert shown["code"]["policyNumber"] is None, "the bank is not told"
        assert (await found.client.state())["latestBillId"] == shown["code"]["billId"] == 150001
        found.clock.advance(1)
        await found.client.post("/sandbox/lookup?query=P100000002")
        state = await found.client.state()
        assert state["latestBillId"] == 150002
        assert state["lookUps"] == [
            {
                "billId": 150002,
                "query": "P100000002",
                "policyNumber": "P100000002",
                "amount": "615000",
                "currency": "KHR",
                "lookedUpAt": "2026-11-23T12:00:01+07:00",
            }
        ]
        assert state["consoleUrl"] == f"{found.insurer.url}/console"
