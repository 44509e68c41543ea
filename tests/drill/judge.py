"""The seven promises, held against what bank, database and Kafka say in the end. Pure.

| | |
|---|---|
| 1 | what was acknowledged is in the database |
| 2 | one application per obligation, one payment per transfer of the bank |
| 3 | KHQR money is the bank's: same transfer, bill, amount, currency |
| 4 | one `success` event id per application, delivered; repeats equal; `sequence` rises |
| 5 | no event of anything that is not committed |
| 6 | final states stay; sums by currency agree between bank, database and Kafka |
| 7 | every claim has its final answer; every transfer was found |
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from tests.drill.books import Books, Move, PaymentRow
from tests.drill.kafka_log import Delivery
from tests.drill.ledger import Claim
from tests.drill.sandbox_desk import Transfer

_OK = 200
_FINAL = {
    "bills": {"PAID", "CLOSED"},
    "payments": {"APPLIED"},
    "codes": {"PAID", "SUPERSEDED", "EXPIRED"},
    "notices": {"DONE"},
    "khqr_notices": {"DONE"},
}
_SUCCESS = ".gateway.payment.success"


def judged(
    *,
    claims: Sequence[Claim],
    transfers: Sequence[Transfer],
    books: Books,
    deliveries: Sequence[Delivery],
) -> list[str]:
    """Return every broken promise, each with its number."""
    return [
        *_acknowledged(claims, books.payments),
        *_once(books.payments),
        *_bank_money(claims, transfers, books.payments),
        *_events(books, deliveries),
        *_committed(books, deliveries),
        *_final_states(books.journal),
        *_sums(claims, transfers, books, deliveries),
        *_answered(claims, transfers, books.payments),
    ]


def _acknowledged(claims: Sequence[Claim], payments: Sequence[PaymentRow]) -> Iterator[str]:
    by_number = {payment.transaction_id: payment for payment in payments}
    by_bill = {payment.bill_id for payment in payments if payment.channel == "KHQR"}
    for claim in claims:
        if claim.final_status != _OK or b'"CONFIRMED"' not in claim.final_body:
            continue
        if claim.channel == "KHQR":
            if claim.bill_id not in by_bill:
                yield f"1: KHQR {claim.bill_id}: acknowledged, no payment"
            continue
        payment = by_number.get(claim.transaction_id)
        if payment is None:
            yield f"1: BILL {claim.transaction_id}: acknowledged, no payment"
        elif (payment.bill_id, payment.amount, payment.currency, payment.state) != (
            *(claim.bill_id, claim.amount, claim.currency),
            "APPLIED",
        ):
            yield f"1: BILL {claim.transaction_id}: acknowledged, recorded as {payment}"


def _once(payments: Sequence[PaymentRow]) -> Iterator[str]:
    applied = Counter(one.applied_to for one in payments if one.applied_to is not None)
    for obligation, count in applied.items():
        if count > 1:
            yield f"2: obligation {obligation} has {count} applications"
    for number, count in Counter(one.transaction_id for one in payments).items():
        if count > 1:
            yield f"2: transfer {number} has {count} payments"
    for one in payments:
        if (one.state == "APPLIED") != (one.applied_to is not None):
            yield f"2: payment {one.transaction_id} is {one.state}, applied to {one.applied_to}"


def _bank_money(
    claims: Sequence[Claim], transfers: Sequence[Transfer], payments: Sequence[PaymentRow]
) -> Iterator[str]:
    moved = {one.number: one for one in transfers}
    told = {claim.transaction_id: claim for claim in claims if claim.channel == "BILL"}
    for payment in payments:
        there = payment.bill_id, payment.amount, payment.currency
        if payment.channel == "KHQR":
            transfer = moved.get(payment.transaction_id)
            bank = (transfer.bill_id, transfer.amount, transfer.currency) if transfer else None
        else:
            claim = told.get(payment.transaction_id)
            bank = (claim.bill_id, claim.amount, claim.currency) if claim else None
        if bank != there:
            yield f"3: payment {payment.transaction_id}: the bank says {bank}, we {there}"
        if payment.applied_to is not None and payment.billed != there[1:]:
            yield f"3: payment {payment.transaction_id} differs from its bill {payment.billed}"


def _events(books: Books, deliveries: Sequence[Delivery]) -> Iterator[str]:
    values: dict[str, set[bytes]] = defaultdict(set)
    order: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for one in deliveries:
        if one.event_id not in values:  # the first delivery of it
            order[one.topic, one.key, one.said["dueOn"]].append(one.said["sequence"])
        values[one.event_id].add(one.value)
    for event_id, different in values.items():
        if len(different) > 1:
            yield f"4: event {event_id} was delivered with {len(different)} different values"
    for (topic, key, _), sequence in order.items():
        if sequence != sorted(set(sequence)):
            yield f"4: {topic} {key}: sequence {sequence}"
    yield from _success(books, deliveries)


def _success(books: Books, deliveries: Sequence[Delivery]) -> Iterator[str]:
    success: dict[str, set[str]] = defaultdict(set)
    for one in deliveries:
        if one.topic.endswith(_SUCCESS):
            success[one.said["transactionId"]].add(one.event_id)
    applied = {one.transaction_id for one in books.payments if one.applied_to is not None}
    for number in applied - success.keys():
        yield f"4: application of {number}: no success event was delivered"
    for number in success.keys() - applied:
        yield f"5: success event of {number}: there is no application"
    for number, ids in success.items():
        if len(ids) > 1:
            yield f"4: application of {number}: {len(ids)} success events"


def _committed(books: Books, deliveries: Sequence[Delivery]) -> Iterator[str]:
    committed = {row.event_id: row for row in books.outbox}
    delivered = set()
    for one in deliveries:
        delivered.add(one.event_id)
        row = committed.get(one.event_id)
        if row is None:
            yield f"5: event {one.event_id} was delivered and never committed"
        elif (row.topic, row.key, row.value) != (one.topic, one.key, one.value):
            yield f"5: event {one.event_id} was delivered otherwise than committed"
    for row in books.outbox:
        if row.parked:
            yield f"4: event {row.event_id} is parked"
        elif row.event_id not in delivered:
            yield f"4: event {row.event_id} ({row.topic}) was never delivered"


def _final_states(journal: Sequence[Move]) -> Iterator[str]:
    for move in journal:
        if move.from_state in _FINAL.get(move.entity, set()):
            yield f"6: {move.entity} {move.entity_id} left {move.from_state} for {move.to_state}"


def _sums(
    claims: Sequence[Claim],
    transfers: Sequence[Transfer],
    books: Books,
    deliveries: Sequence[Delivery],
) -> Iterator[str]:
    taken = {
        claim.transaction_id: (claim.currency, claim.amount)
        for claim in claims
        if claim.channel == "BILL" and claim.final_status == _OK
    }
    bank = _by_currency([*taken.values(), *((one.currency, one.amount) for one in transfers)])
    recorded = _by_currency((one.currency, one.amount) for one in books.payments)
    if bank != recorded:
        yield f"6: the bank moved {bank}, the database holds {recorded}"
    applied = _by_currency(
        (one.currency, one.amount) for one in books.payments if one.state == "APPLIED"
    )
    told = _by_currency(
        {
            one.event_id: (one.said["currency"], Decimal(one.said["amount"]))
            for one in deliveries
            if one.topic.endswith(_SUCCESS)
        }.values()
    )
    if applied != told:
        yield f"6: {applied} are applied, Kafka says {told}"


def _answered(
    claims: Sequence[Claim], transfers: Sequence[Transfer], payments: Sequence[PaymentRow]
) -> Iterator[str]:
    for claim in claims:
        if not claim.finished:
            yield f"7: {claim.channel} {claim.transaction_id or claim.bill_id}: no final answer"
    numbers = {payment.transaction_id for payment in payments}
    for one in transfers:
        if one.number not in numbers:
            yield f"7: transfer {one.number} of bill {one.bill_id} was never found"


def _by_currency(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in amounts:
        sums[currency] += amount
    return dict(sums)
