"""Bill confirmations on real databases, each engine the same.

| what happens                                               | what is left                    |
|------------------------------------------------------------|---------------------------------|
| a notice that fits                                         | 1 payment, application, 2 events |
| fifty copies at once, one writer or two processes          | the same, fifty equal answers   |
| two transfers for one bill at once                         | 1 applied, 1 HELD with 409      |
| a poison member in a batch                                 | its neighbours are recorded     |
| premium changed, paid late, insurer still says due         | paid once, nothing due          |
"""

import asyncio
import json
from datetime import timedelta

import pytest

from chassis.database import Database
from chassis.money import Currency, Money
from gateway_svc.payment import Confirmed, Decision, Hold, NoticeState, Refusal
from gateway_svc.rows import Overtaken
from gateway_svc.store import opened_batch
from tests.support.ledger import START, Ledger, notice_for

MISMATCHED = "PAYMENT_VERIFICATION_DATA_MISMATCHED"


def reason_of(decision: Decision) -> str:
    assert isinstance(decision.answer, Refusal)
    return decision.answer.reason


async def test_a_notice_that_fits_leaves_a_payment_an_application_and_two_events(
    ledger: Ledger,
) -> None:
    bill = await ledger.bill()
    decision = await ledger.notice_writer.submit(notice_for(bill))
    assert decision.answer == Confirmed(transaction_id="T1", bill_id=bill.bill_id)
    assert await ledger.counts("notices", "payments", "applications", "outbox") == (1, 1, 1, 2)
    assert await ledger.rows("SELECT state FROM bills") == [("PAID",)]
    assert await ledger.rows("SELECT topic, event_key, request_id FROM outbox ORDER BY id") == [
        ("test.gateway.payment.confirmed", "P123456789", "request-1"),
        ("test.gateway.payment.success", "P123456789", "request-1"),
    ]
    assert ledger.nudged == 1


async def test_an_event_says_what_was_paid_and_nothing_of_the_payer(ledger: Ledger) -> None:
    bill = await ledger.bill()
    await ledger.notice_writer.submit(notice_for(bill))
    [(_, value)] = await ledger.rows(
        "SELECT event_id, value FROM outbox WHERE topic LIKE '%success'"
    )
    event = json.loads(value)
    assert event.pop("eventId").startswith("event-")
    assert event.pop("occurredAt").startswith("2025-10-07T05:00:00")
    assert event == {
        "schemaVersion": 1,
        "type": "PAYMENT_EVENT_TYPE_SUCCESS",
        "sequence": 2,
        "assurance": "ASSURANCE_BANK_NOTICE",
        "bankCode": "AMK",
        "channel": "CHANNEL_BILL",
        "policyNumber": "P123456789",
        "dueOn": "2025-11-15",
        "billId": "150001",
        "transactionId": "T1",
        "amount": "150.00",
        "currency": "USD",
        "paidAt": "2025-10-07T05:00:00Z",
        "late": False,
    }


async def test_every_move_of_a_state_is_in_the_journal(ledger: Ledger) -> None:
    bill = await ledger.bill()
    await ledger.notice_writer.submit(notice_for(bill))
    assert await ledger.rows(
        "SELECT entity, entity_id, from_state, to_state, cause FROM journal ORDER BY id"
    ) == [
        ("bills", 150001, None, "OPEN", "inquiry"),
        ("notices", 1, None, "DONE", "decided"),
        ("payments", 1, None, "APPLIED", "bill notice"),
        ("bills", 150001, "OPEN", "PAID", "payment applied"),
    ]


@pytest.mark.parametrize("processes", [1, 2])
async def test_fifty_copies_at_once_are_one_payment_and_fifty_equal_answers(
    database_url: str, database: Database, processes: int
) -> None:
    others = [Database(url=database_url) for _ in range(processes - 1)]
    ledgers = [Ledger(database=one) for one in (database, *others)]
    for ledger in ledgers:
        ledger.start()
    bill = await ledgers[0].bill()
    decisions = await asyncio.gather(
        *(ledgers[n % processes].notice_writer.submit(notice_for(bill)) for n in range(50))
    )
    assert {decision.answer for decision in decisions} == {
        Confirmed(transaction_id="T1", bill_id=bill.bill_id)
    }
    assert sum(not decision.replayed for decision in decisions) == 1
    assert await ledgers[0].counts("notices", "payments", "applications", "outbox") == (1, 1, 1, 2)
    for ledger in ledgers:
        await ledger.stop()
    for one in others:
        await one.close()


@pytest.mark.parametrize("processes", [1, 2])
async def test_of_two_transfers_for_one_bill_at_once_one_is_applied_and_one_held(
    database_url: str, database: Database, processes: int
) -> None:
    others = [Database(url=database_url) for _ in range(processes - 1)]
    ledgers = [Ledger(database=one) for one in (database, *others)]
    for ledger in ledgers:
        ledger.start()
    bill = await ledgers[0].bill()
    first, second = await asyncio.gather(
        ledgers[0].notice_writer.submit(notice_for(bill, transaction_id="T1")),
        ledgers[-1].notice_writer.submit(notice_for(bill, transaction_id="T2")),
    )
    held = first if first.state is NoticeState.HELD else second
    assert {first.state, second.state} == {NoticeState.DONE, NoticeState.HELD}
    assert (held.hold, reason_of(held)) == (Hold.ALREADY_PAID, MISMATCHED)
    assert await ledgers[0].counts("notices", "payments", "applications", "outbox") == (2, 1, 1, 2)
    for ledger in ledgers:
        await ledger.stop()
    for one in others:
        await one.close()


async def test_two_processes_meeting_on_one_key_for_two_bills_apply_one(
    database_url: str, database: Database
) -> None:
    other = Database(url=database_url)
    here, there = Ledger(database=database), Ledger(database=other)
    for round_number in range(8):
        policies = [f"P{round_number:08d}{letter}" for letter in "AB"]
        bills = [await here.bill(policy=policy) for policy in policies]
        [one], [two] = await asyncio.gather(
            *(
                ledger.confirmation.record(
                    [notice_for(bill, transaction_id=f"T{round_number}", policy_number=policy)]
                )
                for ledger, bill, policy in zip((here, there), bills, policies, strict=True)
            )
        )
        assert {one.state, two.state} == {NoticeState.DONE, NoticeState.HELD}
    assert await here.counts("payments", "applications") == (8, 8)
    await other.close()


async def test_a_batch_with_every_kind_of_notice_is_answered_row_by_row(ledger: Ledger) -> None:
    bill = await ledger.bill()
    other = await ledger.bill(policy="P222222222")
    notices = [
        notice_for(bill),
        notice_for(bill),
        notice_for(bill, payer="Another Name"),
        notice_for(bill, money=Money(hundredths=1, currency=Currency.USD)),
        notice_for(bill, transaction_id="T2"),
        notice_for(bill, transaction_id="T3", bill_id=999999),
        notice_for(other, transaction_id="T4", policy_number="P222222222"),
    ]
    decisions = await ledger.confirmation.record(notices)
    assert [(decision.hold, decision.replayed) for decision in decisions] == [
        (None, False),
        (None, True),
        (None, True),
        (Hold.CONTRADICTS, False),
        (Hold.ALREADY_PAID, False),
        (Hold.UNKNOWN_BILL, False),
        (None, False),
    ]
    assert await ledger.counts("notices", "payments", "outbox") == (5, 2, 4)
    again = await ledger.confirmation.record(notices)
    assert [decision.answer for decision in again] == [decision.answer for decision in decisions]
    assert all(decision.replayed for decision in again)
    assert await ledger.counts("notices", "payments", "outbox") == (5, 2, 4)


async def test_a_poison_notice_fails_alone(ledger: Ledger) -> None:
    bill = await ledger.bill()
    other = await ledger.bill(policy="P222222222")
    # A text with a NUL cannot be stored on PostgreSQL; on SQLite we make it impossible as well.
    poison = notice_for(bill, transaction_id="", payer="bad\x00")
    good = notice_for(other, transaction_id="T2", policy_number="P222222222")
    outcomes = await asyncio.gather(
        ledger.notice_writer.submit(poison),
        ledger.notice_writer.submit(good),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Exception)
    assert isinstance(outcomes[1], Decision)
    assert isinstance(outcomes[1].answer, Confirmed)
    assert await ledger.counts("notices", "payments", "outbox") == (1, 1, 2)


async def test_a_caller_that_leaves_does_not_cancel_the_recording(ledger: Ledger) -> None:
    bill = await ledger.bill()
    task = asyncio.create_task(ledger.notice_writer.submit(notice_for(bill)))
    await asyncio.sleep(0)
    task.cancel()
    again = await ledger.notice_writer.submit(notice_for(bill))
    assert again.replayed
    assert await ledger.counts("payments") == (1,)


class TestAChangedPremium:
    """150.00 was billed, then 180.00; the insurer's books say "due" for ever."""

    async def test_it_closes_the_older_bill_and_both_ids_stay(self, ledger: Ledger) -> None:
        old, new = await ledger.bill(), await ledger.bill(amount="180.00")
        assert (old.bill_id, new.bill_id) == (150001, 150002)
        assert await ledger.rows("SELECT id, state FROM bills ORDER BY id") == [
            (150001, "CLOSED"),
            (150002, "OPEN"),
        ]

    async def test_paid_late_at_todays_amount_it_is_paid_once_and_nothing_is_due(
        self, ledger: Ledger
    ) -> None:
        old, new = await ledger.bill(), await ledger.bill(amount="180.00")
        late = await ledger.notice_writer.submit(notice_for(old, money=new.money))
        assert late.answer == Confirmed(transaction_id="T1", bill_id=old.bill_id)
        assert "late" in late.flags
        assert not await ledger.is_due(amount="180.00")
        assert not await ledger.is_due(amount="150.00", bank="XYZ")
        second = await ledger.notice_writer.submit(notice_for(new, transaction_id="T2"))
        assert second.hold is Hold.ALREADY_PAID
        assert await ledger.counts("payments", "applications", "outbox") == (1, 1, 2)

    async def test_paid_late_after_it_changed_back_it_pays_the_old_bill(
        self, ledger: Ledger
    ) -> None:
        old = await ledger.bill()
        await ledger.bill(amount="180.00")
        back = await ledger.bill()
        assert back.bill_id == 150003
        late = await ledger.notice_writer.submit(notice_for(old))
        assert isinstance(late.answer, Confirmed)
        assert await ledger.rows("SELECT bill_id, state FROM payments") == [(150001, "APPLIED")]
        assert await ledger.rows("SELECT id, state FROM bills ORDER BY id") == [
            (150001, "CLOSED"),
            (150002, "CLOSED"),
            (150003, "CLOSED"),
        ]
        assert not await ledger.is_due()

    async def test_paid_late_at_yesterdays_amount_it_is_held_and_still_due(
        self, ledger: Ledger
    ) -> None:
        old = await ledger.bill()
        await ledger.bill(amount="180.00")
        late = await ledger.notice_writer.submit(notice_for(old))
        assert (late.hold, reason_of(late)) == (Hold.BILL_CLOSED, MISMATCHED)
        assert await ledger.is_due(amount="180.00")
        assert await ledger.counts("payments", "outbox") == (0, 0)

    async def test_an_older_look_up_that_arrives_later_changes_nothing(
        self, ledger: Ledger
    ) -> None:
        new = await ledger.bill(amount="180.00")
        shown = await ledger.bill(looked_up_at=START - timedelta(minutes=1))
        assert shown.bill_id == new.bill_id
        assert shown.money == new.money


async def test_racing_inquiries_get_one_bill(database_url: str, database: Database) -> None:
    other = Database(url=database_url)
    ledgers = [Ledger(database=database), Ledger(database=other)]
    bills = await asyncio.gather(*(ledgers[n % 2].bill() for n in range(30)))
    assert {bill.bill_id for bill in bills} == {bills[0].bill_id}
    assert await ledgers[0].counts("bills", "obligations") == (1, 1)
    await other.close()


async def test_one_batch_of_look_ups_is_answered_row_by_row(ledger: Ledger) -> None:
    lookups = [
        ledger.lookup(),
        ledger.lookup(),
        ledger.lookup(number="APP1"),
        ledger.lookup(amount="180.00"),
        ledger.lookup(bank="XYZ"),
        ledger.lookup(policy="P222222222", currency=Currency.KHR, amount="615000.00"),
    ]
    bills = await ledger.lookups.record(lookups)
    ids = [bill.bill_id for bill in bills if bill is not None]
    assert len(ids) == 6
    assert ids[0] == ids[1] == ids[2]
    assert len({ids[0], ids[3], ids[4], ids[5]}) == 4
    confirmed = await ledger.notice_writer.submit(
        notice_for(bills[3], policy_number="P123456789")  # type: ignore[arg-type] # not None
    )
    assert isinstance(confirmed.answer, Confirmed)


async def test_an_inquiry_waits_for_a_payment_under_way_and_then_nothing_is_due(
    ledger: Ledger,
) -> None:
    """Without the lock it would make an open bill of an obligation that is being paid."""
    bill = await ledger.bill()
    notice = notice_for(bill)
    async with opened_batch(database=ledger.database) as batch:
        book = await batch.load(notices=[notice])
        inquiry = asyncio.create_task(ledger.is_due(amount="180.00"))
        done, _ = await asyncio.wait([inquiry], timeout=0.3)
        assert not done
        await batch.record(
            decisions=[book.decide(notice)],
            events=[],
            events_per_settlement=2,
            at=START,
        )
    assert not await inquiry
    assert await ledger.rows("SELECT state FROM bills") == [("PAID",)]


async def test_a_decision_made_on_what_no_longer_holds_is_overtaken(ledger: Ledger) -> None:
    bill = await ledger.bill()
    notice = notice_for(bill)
    async with opened_batch(database=ledger.database) as batch:
        stale = await batch.load(notices=[notice])
    await ledger.bill(amount="180.00")
    with pytest.raises(Overtaken):
        async with opened_batch(database=ledger.database) as batch:
            await batch.record(
                decisions=[stale.decide(notice)],
                events=[],
                events_per_settlement=2,
                at=START,
            )
    assert await ledger.counts("notices", "payments", "applications") == (0, 0, 0)


async def test_paying_at_one_bank_closes_the_bill_at_the_other(ledger: Ledger) -> None:
    here, there = await ledger.bill(), await ledger.bill(bank="XYZ")
    await ledger.notice_writer.submit(notice_for(here))
    second = await ledger.notice_writer.submit(notice_for(there, transaction_id="X1"))
    assert second.hold is Hold.ALREADY_PAID
    assert await ledger.rows("SELECT id, state FROM bills ORDER BY id") == [
        (here.bill_id, "PAID"),
        (there.bill_id, "CLOSED"),
    ]
