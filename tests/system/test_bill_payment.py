"""Bill payment from HTTP to the event log, on each engine.

| what is done                                        | what is seen                            |
|-----------------------------------------------------|-----------------------------------------|
| the specification's examples                        | the specification's answers, byte by byte |
| fifty equal notices at once                         | 1 payment, 1 success, 50 equal answers  |
| two transfers for one bill at once                  | 1 applied with 1 success; 409 and HELD  |
| a changed premium paid late, insurer still says due | paid once, nothing due                  |
| malformed input of every kind                       | 400 names the field; nothing is stored  |
| the publisher is down                               | 200; the event comes when it is back    |
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chassis.outbox import Event
from chassis.publisher import Delivery, Outcome, PublishFailed
from tests.support.gateway import JOHN_DOE
from tests.support.system import INQUIRY, NOTICE, Answer, System, running_system

SUCCESS = "dev.gateway.payment.success"
DUE = (
    b'{"success":true,"data":{"id":150001,"policyNumber":"P123456789","payer":"John Doe",'
    b'"amount":150.00,"currency":"USD","dueDate":"2025-11-15"}}'
)
CONFIRMED = (
    b'{"success":true,"data":{"transactionId":"AMK202510070001","paymentReferenceId":"150001",'
    b'"status":"CONFIRMED","message":"Payment successfully processed"}}'
)
NOT_FOUND = (
    b'{"success":false,"error":{"code":"RESOURCE_NOT_FOUND","message":"Policy not found",'
    b'"details":"Query: P123456789"}}'
)


async def until(condition: Any, *, within_s: float = 10) -> None:
    """Wait until `condition()` holds."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def events(system: System, topic: str = SUCCESS) -> list[dict[str, Any]]:
    return [one["value"] for one in system.published() if one["topic"] == topic]


async def test_the_specifications_inquiry_is_answered_byte_for_byte(system: System) -> None:
    answer = await system.get()
    assert (answer.status, answer.body) == (200, DUE)
    assert answer.headers["Content-Type"].startswith("application/json")


async def test_the_specifications_confirmation_is_answered_byte_for_byte(system: System) -> None:
    await system.get()
    answer = await system.post()
    assert (answer.status, answer.body) == (200, CONFIRMED)
    again = await system.post()
    assert (again.status, again.body) == (200, CONFIRMED)
    assert "Idempotent-Replayed" not in answer.headers
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_the_specifications_error_is_answered_byte_for_byte(system: System) -> None:
    system.integration.answers.clear()
    answer = await system.get()
    assert (answer.status, answer.body) == (404, NOT_FOUND)


async def test_a_paid_bill_is_published_and_nothing_is_due(system: System) -> None:
    await system.get()
    await system.post()
    answer = await system.get()
    assert (answer.status, answer.json["error"]["message"]) == (404, "No premium due")
    standing = await system.get("/AMK/payments/150001")
    assert standing.body == (
        b'{"success":true,"data":{"id":150001,"policyNumber":"P123456789","amount":150.00,'
        b'"currency":"USD","dueDate":"2025-11-15","status":"PAID",'
        b'"transactionId":"AMK202510070001"}}'
    )
    await until(lambda: len(system.published()) == 2)
    assert [one["topic"] for one in system.published()] == [
        "dev.gateway.payment.confirmed",
        SUCCESS,
    ]
    assert events(system)[0]["amount"] == "150.00"


async def test_fifty_equal_notices_at_once_are_one_payment(system: System) -> None:
    await system.get()
    answers = await asyncio.gather(*(system.post() for _ in range(50)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, CONFIRMED)}
    assert await system.rows("SELECT count(*) FROM payments") == [(1,)]
    await until(lambda: len(system.published()) >= 2)
    assert len(events(system)) == 1


async def test_of_two_transfers_at_once_one_is_applied_and_one_is_held(system: System) -> None:
    await system.get()
    answers = await asyncio.gather(
        system.post(), system.post(NOTICE.replace(b"AMK202510070001", b"AMK202510070002"))
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    [refused] = [answer for answer in answers if answer.status == 409]
    assert refused.code == "PAYMENT_VERIFICATION_DATA_MISMATCHED"
    assert sorted(await system.rows("SELECT state, hold FROM notices")) == [
        ("DONE", None),
        ("HELD", "ALREADY_PAID"),
    ]
    assert await system.rows("SELECT count(*) FROM applications") == [(1,)]
    await until(lambda: len(system.published()) == 2)
    assert len(events(system)) == 1


@pytest.mark.parametrize("back_to_the_first_amount", [True, False])
async def test_a_changed_premium_paid_late_is_paid_once_and_nothing_is_due(
    system: System, back_to_the_first_amount: bool
) -> None:
    await system.get()
    changed = JOHN_DOE.replace("150.00", "180.00")
    system.integration.answers["P123456789"] = (200, changed)
    assert (await system.get()).json["data"]["id"] == 150002
    notice = NOTICE.replace(b"150.00", b"180.00")
    if back_to_the_first_amount:
        system.integration.answers["P123456789"] = (200, JOHN_DOE)
        assert (await system.get()).json["data"]["id"] == 150003
        notice = NOTICE
    answer = await system.post(notice)
    assert (answer.status, answer.body) == (200, CONFIRMED)
    after = await system.get()
    assert (after.status, after.json["error"]["message"]) == (404, "No premium due")
    second = await system.post(notice.replace(b"AMK202510070001", b"AMK202510070009"))
    assert second.status == 409
    assert await system.rows("SELECT count(*) FROM applications") == [(1,)]
    assert await system.rows("SELECT count(*) FROM bills WHERE state = 'OPEN'") == [(0,)]


MALFORMED_BODIES = {
    "amount": [
        (b"150.00", b"150.001"),
        (b"150.00", b"0"),
        (b"150.00", b"-150.00"),
        (b"150.00", b"1e2"),
        (b"150.00", b'"150.00"'),
        (b"150.00", b"NaN"),
        (b"150.00", b"12345678901234567"),
        (b"150.00", b"null"),
        (b'150.00,"currency":"USD"', b'615000.5,"currency":"KHR"'),
        (b'"amount":150.00,', b""),
        (b'"amount":150.00', b'"amount":150.00,"amount":150.00'),
    ],
    "id": [
        (b"150001", b"0"),
        (b"150001", b"-1"),
        (b"150001", b"1.0"),
        (b"150001", b'"150001"'),
        (b"150001", b"true"),
        (b"150001", b"99999999999999999999"),
    ],
    "currency": [(b"USD", b"EUR"), (b"USD", b"usd"), (b'"USD"', b"840"), (b"USD", b"")],
    "policyNumber": [
        (b"P123456789", b"P1234567"),
        (b"P123456789", b"P1234567890"),
        (b"P123456789", b"P12345678-"),
        (b"P123456789", "P12345678១".encode()),
        (b"P123456789", b"P123456789\\n"),
    ],
    "bankTransactionId": [
        (b"AMK202510070001", b""),
        (b"AMK202510070001", b"A" * 65),
        (b"AMK202510070001", b"a b"),
        (b"AMK202510070001", b"a\\u0000b"),
        (b'"AMK202510070001"', b"1"),
    ],
    "payer": [
        (b"John Doe", b""),
        (b"John Doe", b"J" * 141),
        (b"John Doe", b"J\\u0000"),
        (b"John Doe", b"\\ud800"),
        (b"John Doe", b"J\\u0007"),
    ],
    "paidDate": [
        (b"20251007120000", b"20250230120000"),
        (b"20251007120000", b"2025100712000"),
        (b"20251007120000", b"2025-10-07 12:00:00"),
        (b"20251007120000", b"20251007250000"),
        (b"20251007120000", "២០២៥១០០៧១២០០០០".encode()),
        (b'"20251007120000"', b"20251007120000"),
    ],
}
NO_OBJECTS = [b"", b"[]", b"null", b"1", b"{", b'{"id":', b"\xff\xfe", NOTICE + b"x", b"[" * 5000]


@pytest.mark.parametrize("field", MALFORMED_BODIES)
async def test_a_malformed_notice_is_a_400_that_names(system: System, field: str) -> None:
    await system.get()
    for old, new in MALFORMED_BODIES[field]:
        assert old in NOTICE
        answer = await system.post(NOTICE.replace(old, new))
        assert (answer.status, answer.code) == (400, "BAD_REQUEST"), new
        assert field in answer.json["error"]["details"], (new, answer.body)
    await _nothing_came_of_it(system)


async def test_a_body_that_is_no_object_is_a_400(system: System) -> None:
    await system.get()
    for body in NO_OBJECTS:
        answer = await system.post(body)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST"), body[:20]
    await _nothing_came_of_it(system)


async def test_every_broken_rule_is_named_at_once(system: System) -> None:
    answer = await system.post(b'{"id":0,"amount":-1,"currency":"X","paidDate":"x"}')
    details = answer.json["error"]["details"]
    for field in MALFORMED_BODIES:
        assert field in details


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "query"),
        ("?query=", "query"),
        ("?query=P12345678901", "query"),
        ("?query=P1%0a", "query"),
        ("?query=P%00", "query"),
        ("?query=%FF", "query"),
        ("?query=%E1%9F%A1", "query"),
        ("?query=P123456789&query=P123456789", "query"),
        ("?query=P123456789&extra=1", "extra"),
    ],
)
async def test_a_malformed_inquiry_is_a_400_that_names_the_parameter(
    system: System, query: str, named: str
) -> None:
    answer = await system.get(f"/AMK/payments{query}")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert named in answer.json["error"]["details"]
    assert await system.rows("SELECT count(*) FROM bills") == [(0,)]
    assert system.integration.asked == []


async def test_a_notice_with_members_we_do_not_know_is_taken(system: System) -> None:
    await system.get()
    answer = await system.post(NOTICE.replace(b'{"id"', b'{"newMember":{"a":[1]},"id"'))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/XYZ/payments?query=P1", 404, "BANK_NOT_FOUND"),
        ("/amk/payments?query=P1", 404, "BAD_REQUEST"),
        ("/AMK/payments/999", 404, "RESOURCE_NOT_FOUND"),
        ("/AMK/payments/x", 400, "BAD_REQUEST"),
        ("/AMK/elsewhere", 404, "BAD_REQUEST"),
    ],
)
async def test_what_is_not_there_is_told_in_the_envelope(
    system: System, path: str, status: int, code: str
) -> None:
    answer = await system.get(path)
    assert (answer.status, answer.code) == (status, code)


async def test_a_request_id_is_kept_from_the_header_to_the_event(system: System) -> None:
    await system.get()
    answer = await system.call("POST", "/AMK/payments", NOTICE, **{"X-Request-ID": "trace-me-1"})
    assert answer.headers["X-Request-ID"] == "trace-me-1"
    assert await system.rows("SELECT DISTINCT request_id FROM notices") == [("trace-me-1",)]
    assert await system.rows("SELECT DISTINCT request_id FROM outbox") == [("trace-me-1",)]


async def test_without_a_good_token_nothing_is_believed(system: System) -> None:
    await system.get()
    for token in ("", "x", system.token[:-4] + "AAAA"):
        answer = await system.call("POST", "/AMK/payments", NOTICE, Authorization=f"Bearer {token}")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    await _nothing_came_of_it(system)


class Switched:
    """A publisher that is down until it is switched on."""

    def __init__(self) -> None:
        self.up = False
        self.taken: list[Event] = []

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        if not self.up:
            return [PublishFailed(error="down")] * len(events)
        self.taken += events
        return [Delivery(partition=None, offset=None)] * len(events)

    async def close(self) -> None:
        pass


async def test_while_the_publisher_is_down_a_payment_is_taken_and_told_later(
    tmp_path: Path, database_url: str
) -> None:
    publisher = Switched()
    async with running_system(
        tmp_path=tmp_path, database_url=database_url, publisher=publisher
    ) as system:
        await system.get()
        answer: Answer = await system.post()
        assert (answer.status, answer.body) == (200, CONFIRMED)
        assert await system.rows("SELECT count(*) FROM outbox WHERE published_at IS NULL") == [(2,)]
        publisher.up = True
        await until(lambda: len(publisher.taken) == 2)
        assert [json.loads(event.value)["sequence"] for event in publisher.taken] == [1, 2]


async def test_head_is_refused_because_an_inquiry_writes(system: System) -> None:
    answer = await system.call("HEAD", INQUIRY)
    assert answer.status == 405
    assert await system.rows("SELECT count(*) FROM bills") == [(0,)]


async def _nothing_came_of_it(system: System) -> None:
    for table in ("notices", "payments", "applications", "outbox"):
        assert await system.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert await system.rows("SELECT id, state FROM bills") == [(150001, "OPEN")]
