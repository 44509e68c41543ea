"""Outcome -> events: what downstream is told about a payment.

`.confirmed` says it was accepted and recorded, `.success` that the obligation is settled;
`.verified` is only for what the bank vouched for when asked. Values are the compact JSON
mapping of `payments.events.v1.PaymentEvent`, byte for byte the same on every delivery.
"""

import json
from collections.abc import Callable
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from payments.events.v1 import events_pb2

from chassis.outbox import Event
from gateway_svc.payment import Decision, Settlement

SCHEMA_VERSION = 1
_TYPES = {
    "confirmed": events_pb2.PAYMENT_EVENT_TYPE_CONFIRMED,
    "success": events_pb2.PAYMENT_EVENT_TYPE_SUCCESS,
}


def payment_topics(*, prefix: str) -> dict[str, str]:
    """Return the topic of each payment event, by the event's short name."""
    return {name: f"{prefix}.gateway.payment.{name}" for name in _TYPES}


def events_of(
    *, decision: Decision, topics: dict[str, str], at: datetime, new_id: Callable[[], str]
) -> list[Event]:
    """Return the events of `decision`, recorded at `at`: none unless it applied a payment."""
    settlement = decision.settlement
    if settlement is None or decision.replayed:
        return []
    return [
        _event(
            decision=decision,
            settlement=settlement,
            name=name,
            topic=topics[name],
            sequence=settlement.obligation.event_sequence + place,
            at=at,
            event_id=new_id(),
        )
        for place, name in enumerate(_TYPES, start=1)
    ]


EVENTS_PER_SETTLEMENT = len(_TYPES)


def _event(
    *,
    decision: Decision,
    settlement: Settlement,
    name: str,
    topic: str,
    sequence: int,
    at: datetime,
    event_id: str,
) -> Event:
    notice, obligation = decision.notice, settlement.obligation
    message = events_pb2.PaymentEvent(
        event_id=event_id,
        schema_version=SCHEMA_VERSION,
        type=_TYPES[name],
        sequence=sequence,
        assurance=events_pb2.ASSURANCE_BANK_NOTICE,
        bank_code=notice.bank_code,
        channel=events_pb2.CHANNEL_BILL,
        policy_number=obligation.policy_number,
        due_on=obligation.due_on.isoformat(),
        bill_id=settlement.bill.bill_id,
        transaction_id=notice.transaction_id,
        amount=str(notice.money),
        currency=notice.money.currency.value,
        late=settlement.late,
    )
    message.occurred_at.FromDatetime(at)
    message.paid_at.FromDatetime(notice.paid_at)
    value = json.dumps(
        MessageToDict(message, always_print_fields_with_no_presence=True),
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return Event(
        event_id=event_id,
        topic=topic,
        key=obligation.policy_number,
        value=value.encode(),
        request_id=notice.request_id,
    )
