"""KHQR notices on real databases, each engine the same; the bank is a script.

| the notice; the bank               | answer       | kept                                  |
|------------------------------------|--------------|---------------------------------------|
| fits; paid                         | CONFIRMED    | APPLIED; verified, confirmed, success |
| repeated, other microseconds       | the first    | nothing new                           |
| differs from the bill              | 409          | HELD; asked in the background         |
| fits; paid otherwise               | 409          | HELD; money UNAPPLIED                 |
| fits; other transaction, merchant  | 409          | HELD, no payment                      |
| fits; not paid                     | 422          | VERIFYING, HELD after 24 h            |
| fits; silent, or unreadable        | 503, 502     | VERIFYING until it is decided         |
| unknown bill, unknown status       | 404, 400     | HELD                                  |
| FAILED ... EXPIRED, PENDING        | 200 with it  | bill stays open                       |
| REVERSED, REFUNDED                 | 200 with it  | HELD                                  |
| premium paid by another transfer   | 200          | UNAPPLIED, HELD                       |
| told twice with other seconds      | 200          | an exception, or money of its own     |
| none at all                        |              | found by polling                      |
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from chassis.database import Database
from chassis.errors import ServiceError
from chassis.money import Currency, Money
from chassis.single_flight import FlightStopped
from gateway_svc.code_store import Code
from gateway_svc.payment import Refusal
from gateway_svc.verification import Acknowledged, Finding, KhqrAnswer
from tests.support.khqr_ledger import (
    DOWN,
    NOT_PAID,
    PAID_AT,
    UNREADABLE,
    KhqrLedger,
    ScriptedBank,
    paid,
    told,
    usd,
)
from tests.support.ledger import notice_for

CONFIRMED = Acknowledged(status="CONFIRMED", transaction_id="AMK_KHQR_150001")
LATER = PAID_AT + timedelta(seconds=7)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
        await database.close()


def reason(answer: KhqrAnswer) -> str:
    assert isinstance(answer, Refusal)
    return answer.reason


async def notices(ledger: KhqrLedger) -> list[tuple[str, str | None]]:
    return await ledger.rows("SELECT state, hold FROM khqr_notices ORDER BY id")


async def payments(ledger: KhqrLedger) -> list[tuple[str, str, int]]:
    return await ledger.rows(
        "SELECT state, transaction_id, amount_hundredths FROM payments ORDER BY id"
    )


async def test_a_notice_that_the_bank_vouches_for_is_applied_and_published(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    outcome = await ledger.tell(told())
    assert (outcome.answer, outcome.replayed) == (CONFIRMED, False)
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]
    assert await notices(ledger) == [("DONE", None)]
    assert await ledger.topics() == ["verified", "confirmed", "success"]
    assert await ledger.rows("SELECT event_sequence FROM obligations") == [(3,)]
    assert await ledger.counts("proofs", "applications", "verifications") == (1, 1, 1)
    assert not await ledger.is_due()


async def test_the_same_notice_is_replayed_whatever_its_microseconds(ledger: KhqrLedger) -> None:
    await ledger.bill()
    await ledger.tell(told())
    for microsecond in (123456, 0, 999999):
        again = await ledger.tell(told(paid_at=PAID_AT.replace(microsecond=microsecond)))
        assert (again.answer, again.replayed) == (CONFIRMED, True)
    assert ledger.bank.asked == 1
    assert await ledger.counts("khqr_notices", "payments", "outbox") == (1, 1, 3)


@pytest.mark.parametrize("processes", [1, 2])
async def test_thirty_copies_at_once_are_one_payment_and_one_question_at_a_time(
    database_url: str, ledger: KhqrLedger, processes: int
) -> None:
    others = [Database(url=database_url) for _ in range(processes - 1)]
    ledgers = [ledger, *(KhqrLedger(database=one, bank=ledger.bank) for one in others)]
    for other in ledgers[1:]:
        other.start()
    await ledger.bill()
    outcomes = await asyncio.gather(*(ledgers[n % processes].tell(told()) for n in range(30)))
    assert {outcome.answer for outcome in outcomes} == {CONFIRMED}
    assert ledger.bank.most_at_once == 1
    assert await ledger.counts("khqr_notices", "payments", "outbox") == (1, 1, 3)
    for other in ledgers[1:]:
        await other.stop()
        await other.database.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"money": usd(14999)}, "paid_amount"),
        ({"money": Money(hundredths=15000, currency=Currency.KHR)}, "currency"),
        ({"merchant_number": "111"}, "merchant_number"),
    ],
)
async def test_a_notice_that_differs_is_refused_and_the_bank_asked_in_the_background(
    ledger: KhqrLedger, change: dict[str, Any], named: str
) -> None:
    await ledger.bill()
    outcome = await ledger.tell(told(**change))
    assert reason(outcome.answer) == "PAYMENT_VERIFICATION_DATA_MISMATCHED"
    assert isinstance(outcome.answer, Refusal)
    assert outcome.answer.details.startswith(named)
    assert (await notices(ledger), ledger.bank.asked) == ([("HELD", "MISMATCHED")], 0)
    ledger.now += timedelta(seconds=6)
    await ledger.completer.run_once()
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]
    assert await notices(ledger) == [("DONE", None)]
    again = await ledger.tell(told(**change))
    assert (again.answer, again.replayed) == (outcome.answer, True)


async def test_a_differing_notice_of_money_paid_otherwise_leaves_it_unapplied(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.bank.answers = [paid(money=usd(14999))]
    await ledger.tell(told(money=usd(14999)))
    ledger.now += timedelta(seconds=6)
    await ledger.completer.run_once()
    assert await payments(ledger) == [("UNAPPLIED", "BANK1", 14999)]
    assert await notices(ledger) == [("HELD", "MISMATCHED")]
    assert await ledger.topics() == ["verified"]
    assert await ledger.is_due()


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (paid(money=usd(14999)), [("UNAPPLIED", "BANK1", 14999)]),
        (
            paid(money=Money(hundredths=15000, currency=Currency.KHR)),
            [("UNAPPLIED", "BANK1", 15000)],
        ),
        (paid(foreign="verified: another transaction"), []),
        (paid(foreign="verified: another merchant"), []),
    ],
)
async def test_when_the_bank_vouches_for_something_else_the_notice_is_held(
    ledger: KhqrLedger, answer: Finding, left: list[tuple[str, str, int]]
) -> None:
    await ledger.bill()
    ledger.bank.answers = [answer]
    outcome = await ledger.tell(told())
    assert reason(outcome.answer) == "PAYMENT_VERIFICATION_DATA_MISMATCHED"
    assert await payments(ledger) == left
    assert await notices(ledger) == [("HELD", "VERIFICATION_DIFFERS")]
    assert await ledger.topics() == ["verified"] * len(left)
    assert await ledger.counts("applications") == (0,)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (NOT_PAID, "TRANSACTION_VERIFY_FAILED"),
        (DOWN, "SERVER_UNAVAILABLE"),
        (UNREADABLE, "AMK_UNKNOWN_ERROR"),
    ],
)
async def test_without_a_yes_nothing_is_published_until_the_completer_gets_one(
    ledger: KhqrLedger, answer: Finding, code: str
) -> None:
    await ledger.bill()
    ledger.bank.answers = [answer, answer, answer, paid()]
    outcome = await ledger.tell(told())
    assert (reason(outcome.answer), outcome.replayed) == (code, False)
    assert await notices(ledger) == [("VERIFYING", None)]
    assert await ledger.topics() == []
    for _ in range(20):
        ledger.now += timedelta(seconds=30)
        await ledger.completer.run_once()
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]
    assert await notices(ledger) == [("DONE", None)]
    assert await ledger.topics() == ["verified", "confirmed", "success"]
    assert (await ledger.tell(told())).answer == CONFIRMED
    assert ledger.bank.asked == 4


async def test_a_repeat_asks_again_and_gets_the_answer_once_there_is_one(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.bank.answers = [DOWN, paid()]
    assert reason((await ledger.tell(told())).answer) == "SERVER_UNAVAILABLE"
    outcome = await ledger.tell(told())
    assert (outcome.answer, outcome.replayed) == (CONFIRMED, False)


async def test_the_completers_pauses_grow_and_it_never_gives_up_on_silence(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.bank.answers = [DOWN]
    await ledger.tell(told())
    asked = []
    for _ in range(400):
        ledger.now += timedelta(minutes=10)
        await ledger.completer.run_once()
        asked.append(ledger.bank.asked)
    assert asked[5] > 1
    assert asked[-1] > asked[200]
    assert await notices(ledger) == [("VERIFYING", None)]


async def test_money_that_the_bank_denies_for_a_day_is_held(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.bank.answers = [NOT_PAID]
    await ledger.tell(told())
    for _ in range(40):
        ledger.now += timedelta(hours=1)
        await ledger.completer.run_once()
    assert await notices(ledger) == [("HELD", "NEVER_VERIFIED")]
    asked = ledger.bank.asked
    ledger.now += timedelta(hours=5)
    await ledger.completer.run_once()
    assert ledger.bank.asked == asked
    assert await ledger.counts("payments", "outbox") == (0, 0)


@pytest.mark.parametrize("status", ["FAILED", "DECLINED", "CANCELLED", "EXPIRED"])
async def test_a_payment_that_failed_leaves_the_bill_open(ledger: KhqrLedger, status: str) -> None:
    await ledger.bill()
    notice = told(status=status, money=None, paid_at=None)
    outcome = await ledger.tell(notice)
    assert outcome.answer == Acknowledged(status=status, transaction_id="AMK_KHQR_150001")
    assert (await ledger.tell(notice)).replayed
    assert ledger.bank.asked == 0
    assert await ledger.is_due()
    assert (await ledger.tell(told())).answer == CONFIRMED


async def test_pending_changes_nothing_and_is_not_final(ledger: KhqrLedger) -> None:
    await ledger.bill()
    for _ in range(2):
        outcome = await ledger.tell(told(status="PENDING", money=None, paid_at=None))
        assert isinstance(outcome.answer, Acknowledged)
        assert (outcome.answer.status, outcome.replayed) == ("PENDING", False)
    assert ledger.bank.asked == 0
    assert (await ledger.tell(told())).answer == CONFIRMED


@pytest.mark.parametrize("status", ["REVERSED", "REFUNDED"])
async def test_money_taken_back_is_held_for_a_person(ledger: KhqrLedger, status: str) -> None:
    await ledger.bill()
    await ledger.tell(told())
    outcome = await ledger.tell(told(status=status))
    assert isinstance(outcome.answer, Acknowledged)
    assert outcome.answer.status == status
    assert await notices(ledger) == [("DONE", None), ("HELD", "TAKEN_BACK")]
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]


async def test_an_unknown_bill_is_not_found_and_an_unknown_status_is_bad(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    for _ in range(2):
        assert reason((await ledger.tell(told(999999))).answer) == "RESOURCE_NOT_FOUND"
        assert reason((await ledger.tell(told(status="MAYBE"))).answer) == "BAD_REQUEST"
    assert await notices(ledger) == [("HELD", "UNKNOWN_BILL"), ("HELD", "UNKNOWN_STATUS")]
    assert ledger.bank.asked == 0


async def test_a_code_paid_twice_leaves_the_second_transfer_unapplied(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.bank.answers = [paid(), paid(transaction_id="BANK2", paid_at=LATER)]
    await ledger.tell(told())
    second = await ledger.tell(told(paid_at=LATER))
    assert second.answer == CONFIRMED
    assert await payments(ledger) == [
        ("APPLIED", "BANK1", 15000),
        ("UNAPPLIED", "BANK2", 15000),
    ]
    assert await notices(ledger) == [("DONE", None), ("HELD", "ALREADY_PAID")]
    assert (await ledger.topics()).count("success") == 1
    assert (await ledger.topics()).count("verified") == 2


@pytest.mark.parametrize("transaction_id", ["BANK1", None])
async def test_a_second_notice_whose_transfer_the_bank_does_not_name_is_an_exception(
    ledger: KhqrLedger, transaction_id: str | None
) -> None:
    await ledger.bill()
    ledger.bank.answers = [
        paid(transaction_id=transaction_id),
        paid(transaction_id=transaction_id, paid_at=LATER),
    ]
    await ledger.tell(told())
    second = await ledger.tell(told(paid_at=LATER))
    assert second.answer == CONFIRMED
    assert await ledger.counts("payments", "applications") == (1, 1)
    assert await notices(ledger) == [("DONE", None), ("HELD", "POSSIBLE_SECOND_TRANSFER")]
    assert (await ledger.topics()).count("success") == 1


async def test_two_seconds_told_before_the_bank_answers_are_one_payment_and_one_exception(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.bank.answers = [DOWN, DOWN, paid()]
    await ledger.tell(told())
    await ledger.tell(told(paid_at=LATER))
    ledger.now += timedelta(minutes=2)
    await ledger.completer.run_once()
    assert await notices(ledger) == [("DONE", None), ("HELD", "POSSIBLE_SECOND_TRANSFER")]
    assert await ledger.counts("payments", "applications") == (1, 1)


async def test_a_code_paid_after_its_bill_was_paid_in_the_app_is_unapplied(
    ledger: KhqrLedger,
) -> None:
    bill = await ledger.bill()
    await ledger.notice_writer.submit(notice_for(bill))
    outcome = await ledger.tell(told())
    assert outcome.answer == CONFIRMED
    assert await payments(ledger) == [("APPLIED", "T1", 15000), ("UNAPPLIED", "BANK1", 15000)]
    assert await notices(ledger) == [("HELD", "ALREADY_PAID")]
    assert await ledger.topics() == ["confirmed", "success", "verified"]


async def test_a_closed_bill_that_nothing_fits_keeps_its_money_unapplied(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.now += timedelta(seconds=1)
    await ledger.bill(amount="180.00")
    outcome = await ledger.tell(told())
    assert outcome.answer == Acknowledged(status="RECEIVED", transaction_id="AMK_KHQR_150001")
    assert await payments(ledger) == [("UNAPPLIED", "BANK1", 15000)]
    assert await notices(ledger) == [("HELD", "BILL_CLOSED")]
    assert await ledger.is_due(amount="180.00")


async def test_a_closed_bill_of_todays_amount_is_applied_late(ledger: KhqrLedger) -> None:
    await ledger.bill()
    for amount in ("180.00", "150.00"):
        ledger.now += timedelta(seconds=1)
        await ledger.bill(amount=amount)
    assert (await ledger.tell(told())).answer == CONFIRMED
    assert await ledger.rows("SELECT bill_id, state, state_cause FROM payments") == [
        (150001, "APPLIED", "late, verified")
    ]
    assert await ledger.rows("SELECT count(*) FROM bills WHERE state = 'OPEN'") == [(0,)]


async def test_a_payment_nobody_told_of_is_found_by_polling(ledger: KhqrLedger) -> None:
    bill = await ledger.bill()
    ledger.bank.answers = [NOT_PAID, NOT_PAID, paid()]
    await _show_code(ledger, bill.bill_id)
    for _ in range(20):
        ledger.now += timedelta(seconds=30)
        await ledger.completer.run_once()
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]
    assert await ledger.topics() == ["generated-event", "verified", "confirmed", "success"]
    assert ledger.bank.asked == 3
    late = await ledger.tell(told())
    assert late.answer == CONFIRMED
    assert await notices(ledger) == [("DONE", None)]
    assert (await ledger.topics()).count("success") == 1


@pytest.mark.parametrize(("foreign", "alarms"), [("verified: another merchant", 1), ("", 0)])
async def test_a_poll_that_meets_a_contradiction_tells_somebody(
    ledger: KhqrLedger, foreign: str, alarms: int
) -> None:
    bill = await ledger.bill()
    ledger.bank.answers = [paid(foreign=foreign)]
    await _show_code(ledger, bill.bill_id)
    ledger.now += timedelta(seconds=30)
    with capture_logs() as logs:
        await ledger.completer.run_once()
    told_of = [one for one in logs if one["event"] == "verification_contradicts"]
    assert [one["bill_id"] for one in told_of] == [bill.bill_id] * alarms
    assert len(await payments(ledger)) == 1 - alarms


async def test_polling_ends_an_hour_after_the_code(ledger: KhqrLedger) -> None:
    bill = await ledger.bill()
    ledger.bank.answers = [NOT_PAID]
    await _show_code(ledger, bill.bill_id)
    asked = []
    for _ in range(120):
        ledger.now += timedelta(minutes=1)
        await ledger.completer.run_once()
        asked.append(ledger.bank.asked)
    assert asked[80] < asked[89] or asked[75] < asked[89]
    assert asked[95] == asked[-1]
    assert await ledger.rows("SELECT state FROM codes") == [("EXPIRED",)]
    assert await ledger.is_due()


async def test_while_another_process_asks_nobody_else_does(
    database_url: str, ledger: KhqrLedger
) -> None:
    other = KhqrLedger(database=Database(url=database_url), bank=ledger.bank)
    other.start()
    await ledger.bill()
    ledger.bank.gate = asyncio.Event()
    first = asyncio.create_task(ledger.tell(told()))
    await ledger.bank.was_asked.wait()
    second = asyncio.create_task(other.tell(told()))
    done, _ = await asyncio.wait([second], timeout=0.5)
    assert not done
    assert ledger.bank.asked == 1
    ledger.bank.gate.set()
    ledger.now = other.now = ledger.now + timedelta(seconds=1)
    assert (await first).answer == CONFIRMED
    assert (await second).answer == CONFIRMED
    assert ledger.bank.asked == 1
    await other.stop()
    await other.database.close()


async def test_a_process_that_died_while_asking_leaves_it_to_the_completer(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    ledger.bank.gate = asyncio.Event()
    task = asyncio.create_task(ledger.tell(told()))
    await ledger.bank.was_asked.wait()
    await ledger.khqr.questions._asking.close()
    with pytest.raises(FlightStopped):
        await task
    assert await notices(ledger) == [("RECEIVED", None)]
    ledger.bank.gate = None
    ledger.now += timedelta(seconds=10)
    await ledger.completer.run_once()
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]


async def test_with_no_time_left_nobody_is_asked_and_the_notice_is_kept(
    ledger: KhqrLedger,
) -> None:
    await ledger.bill()
    with pytest.raises(ServiceError) as refusal:
        await ledger.tell(told(), within_s=0.3)
    assert refusal.value.reason == "SERVER_UNAVAILABLE"
    assert ledger.bank.asked == 0
    ledger.now += timedelta(seconds=10)
    await ledger.completer.run_once()
    assert await payments(ledger) == [("APPLIED", "BANK1", 15000)]


async def test_bill_and_khqr_told_at_once_settle_the_premium_once(ledger: KhqrLedger) -> None:
    for number in itertools.count():
        if number == 5:
            break
        policy = f"P{number:09d}"
        bill = await ledger.bill(policy=policy)
        ledger.bank.answers = [paid(transaction_id=f"KHQR{number}")]
        await asyncio.gather(
            ledger.notice_writer.submit(
                notice_for(bill, transaction_id=f"BILL{number}", policy_number=policy)
            ),
            ledger.tell(told(bill.bill_id)),
        )
    assert await ledger.counts("applications") == (5,)
    assert (await ledger.topics()).count("success") == 5
    sequences = await ledger.rows("SELECT event_sequence FROM obligations")
    assert {one for (one,) in sequences} <= {3, 4}


class TestCodes:
    """One code of a bill is live, whoever asks at once."""

    async def test_the_first_of_many_wins_and_is_handed_to_all(self, ledger: KhqrLedger) -> None:
        bill = await ledger.bill()
        codes = await asyncio.gather(
            *(_show_code(ledger, bill.bill_id, payload=f"code {n}") for n in range(10))
        )
        assert len({code.payload for code in codes}) == 1
        assert await ledger.counts("codes", "outbox") == (1, 1)

    async def test_a_code_with_less_than_five_minutes_left_is_superseded(
        self, ledger: KhqrLedger
    ) -> None:
        bill = await ledger.bill()
        await _show_code(ledger, bill.bill_id, payload="old")
        ledger.now += timedelta(minutes=25)
        assert (await _show_code(ledger, bill.bill_id, payload="new")).payload == "old"
        ledger.now += timedelta(seconds=1)
        assert (await _show_code(ledger, bill.bill_id, payload="new")).payload == "new"
        assert await ledger.rows("SELECT payload, state FROM codes ORDER BY id") == [
            ("old", "SUPERSEDED"),
            ("new", "LIVE"),
        ]

    async def test_a_code_past_its_time_is_not_live(self, ledger: KhqrLedger) -> None:
        bill = await ledger.bill()
        await _show_code(ledger, bill.bill_id)
        assert await ledger.codes.live(bank_code="AMK", bill_id=bill.bill_id)
        ledger.now += timedelta(minutes=30)
        assert await ledger.codes.live(bank_code="AMK", bill_id=bill.bill_id) is None

    @pytest.mark.parametrize(("bank", "bill_id"), [("AMK", 999999), ("XYZ", 150001)])
    async def test_a_code_of_no_bill_there_is_is_not_kept(
        self, ledger: KhqrLedger, bank: str, bill_id: int
    ) -> None:
        await ledger.bill()
        with pytest.raises(ServiceError):
            await _show_code(ledger, bill_id, bank=bank)
        assert await ledger.counts("codes", "outbox") == (0, 0)

    async def test_paying_ends_the_codes_of_the_premium_by_either_channel(
        self, ledger: KhqrLedger
    ) -> None:
        by_code = await ledger.bill()
        await _show_code(ledger, by_code.bill_id)
        await ledger.tell(told())
        in_app = await ledger.bill(policy="P222222222")
        await _show_code(ledger, in_app.bill_id)
        await ledger.notice_writer.submit(notice_for(in_app, policy_number="P222222222"))
        assert await ledger.rows("SELECT state FROM codes") == [("PAID",), ("PAID",)]
        with pytest.raises(ServiceError):
            await _show_code(ledger, by_code.bill_id)

    async def test_a_changed_premium_ends_the_code(self, ledger: KhqrLedger) -> None:
        bill = await ledger.bill()
        await _show_code(ledger, bill.bill_id)
        ledger.now += timedelta(seconds=1)
        await ledger.bill(amount="180.00")
        assert await ledger.rows("SELECT state FROM codes") == [("SUPERSEDED",)]


async def _show_code(
    ledger: KhqrLedger, bill_id: int, *, payload: str = "code", bank: str = "AMK"
) -> Code:
    return await ledger.codes.record(
        bank_code=bank,
        bill_id=bill_id,
        offered=Code(payload=payload, image=b"png", expires_at=ledger.now + timedelta(minutes=30)),
        request_id="request-1",
    )
