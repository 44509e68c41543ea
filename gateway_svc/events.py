"""Outcome -> events: what downstream is told about a payment or a code.

`.verified` says that the bank vouched for the money when asked (also where it pays nothing
yet), `.confirmed` that it was accepted and applied, `.success` that the obligation is settled.
Values are the compact JSON mapping of the messages of `payments.events.v1`, byte for byte the
same on every delivery.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.money import Money
from chassis.outbox import Event
from gateway_svc.code_store import RecordedCode
from gateway_svc.event_values import event_value, event_values
from gateway_svc.payment import Bill, Channel, Decision, Obligation, Settlement
from gateway_svc.verification import CaseDecision
from payments.events.v1 import events_pb2

SCHEMA_VERSION = 1
_TYPES = {
    "verified": events_pb2.PAYMENT_EVENT_TYPE_VERIFIED,
    "confirmed": events_pb2.PAYMENT_EVENT_TYPE_CONFIRMED,
    "success": events_pb2.PAYMENT_EVENT_TYPE_SUCCESS,
}
_BY_NOTICE = ("confirmed", "success")
_BY_VERIFICATION = ("verified", "confirmed", "success")
EVENTS_PER_SETTLEMENT = len(_BY_NOTICE)


@dataclass(frozen=True, kw_only=True)
class EventWriter:
    """Turns outcomes into events; `prefix` starts every topic."""

    prefix: str
    new_id: Callable[[], str]

    def of_decision(self, *, decision: Decision, at: datetime) -> list[Event]:
        """Return the events of a bill notice: none unless it applied a payment."""
        settlement = decision.settlement
        if settlement is None or decision.replayed:
            return []
        notice = decision.notice
        return self._payment_events(
            names=_BY_NOTICE,
            obligation=settlement.obligation,
            bill=settlement.bill,
            money=notice.money,
            transaction_id=notice.transaction_id,
            paid_at=notice.paid_at,
            late=settlement.late,
            channel=events_pb2.CHANNEL_BILL,
            assurance=events_pb2.ASSURANCE_BANK_NOTICE,
            request_id=notice.request_id,
            at=at,
        )

    def of_case(self, *, decision: CaseDecision, request_id: str, at: datetime) -> list[Event]:
        """Return the events of an answer of the bank: none unless it vouches for new money."""
        payment = decision.payment
        if payment is None:
            return []
        return self._payment_events(
            names=_BY_VERIFICATION if payment.applied_to else _BY_VERIFICATION[:1],
            obligation=decision.case.obligation,
            bill=decision.case.bill,
            money=payment.money,
            transaction_id=payment.transaction_id,
            paid_at=payment.paid_at,
            late=payment.late,
            channel=events_pb2.CHANNEL_KHQR,
            assurance=events_pb2.ASSURANCE_BANK_VERIFIED,
            request_id=request_id,
            at=at,
        )

    def of_settlement(
        self,
        *,
        settlement: Settlement,
        transaction_id: str,
        paid_at: datetime,
        channel: Channel,
        request_id: str,
        at: datetime,
    ) -> list[Event]:
        """Return the events of money that two people applied.

        What the bank vouches for was told as verified when it came.
        """
        is_khqr = channel is Channel.KHQR
        return self._payment_events(
            names=_BY_NOTICE,
            obligation=settlement.obligation,
            bill=settlement.bill,
            money=settlement.bill.money,
            transaction_id=transaction_id,
            paid_at=paid_at,
            late=settlement.late,
            channel=events_pb2.CHANNEL_KHQR if is_khqr else events_pb2.CHANNEL_BILL,
            assurance=(
                events_pb2.ASSURANCE_BANK_VERIFIED if is_khqr else events_pb2.ASSURANCE_BANK_NOTICE
            ),
            request_id=request_id,
            at=at,
        )

    def of_code(self, *, recorded: RecordedCode, request_id: str, at: datetime) -> list[Event]:
        """Return the event of a code: none where the one that was there is used again."""
        if not recorded.is_new:
            return []
        obligation, bill, event_id = recorded.obligation, recorded.bill, self.new_id()
        message = events_pb2.KhqrGeneratedEvent(
            event_id=event_id,
            schema_version=SCHEMA_VERSION,
            sequence=obligation.event_sequence + 1,
            bank_code=bill.bank_code,
            policy_number=obligation.policy_number,
            due_on=obligation.due_on.isoformat(),
            bill_id=bill.bill_id,
            amount=str(bill.money),
            currency=bill.money.currency.value,
            occurred_at=_timestamp(at),
            expires_at=_timestamp(recorded.code.expires_at),
            payload_md5=hashlib.md5(
                recorded.code.payload.encode(), usedforsecurity=False
            ).hexdigest(),
        )
        return [
            Event(
                event_id=event_id,
                topic=_code_topic(self.prefix),
                key=obligation.policy_number,
                value=event_value(message=message),
                request_id=request_id,
            )
        ]

    def _payment_events(
        self,
        *,
        names: tuple[str, ...],
        obligation: Obligation,
        bill: Bill,
        money: Money,
        transaction_id: str,
        paid_at: datetime,
        late: bool,
        channel: events_pb2.Channel.ValueType,
        assurance: events_pb2.Assurance.ValueType,
        request_id: str,
        at: datetime,
    ) -> list[Event]:
        message = events_pb2.PaymentEvent(
            schema_version=SCHEMA_VERSION,
            assurance=assurance,
            bank_code=bill.bank_code,
            channel=channel,
            policy_number=obligation.policy_number,
            due_on=obligation.due_on.isoformat(),
            bill_id=bill.bill_id,
            transaction_id=transaction_id,
            amount=str(money),
            currency=money.currency.value,
            late=late,
            occurred_at=_timestamp(at),
            paid_at=_timestamp(paid_at),
        )
        ids = [self.new_id() for _ in names]
        values = event_values(
            message=message,
            each=[
                {"event_id": event_id, "type": _TYPES[name], "sequence": sequence}
                for sequence, (event_id, name) in enumerate(
                    zip(ids, names, strict=True), start=obligation.event_sequence + 1
                )
            ],
        )
        return [
            Event(
                event_id=event_id,
                topic=_payment_topic(self.prefix, name),
                key=obligation.policy_number,
                value=value,
                request_id=request_id,
            )
            for name, event_id, value in zip(names, ids, values, strict=True)
        ]


def topics_of(*, prefix: str) -> tuple[str, ...]:
    """Return every topic that the gateway writes to."""
    return (*(_payment_topic(prefix, name) for name in _TYPES), _code_topic(prefix))


@lru_cache(maxsize=64)
def _payment_topic(prefix: str, name: str) -> str:
    return f"{prefix}.gateway.payment.{name}"


def _code_topic(prefix: str) -> str:
    return f"{prefix}.khqr.generated-event"


@lru_cache(maxsize=256)
def _timestamp(at: datetime) -> Timestamp:
    """Return `at` as a message, which nobody may change: events copy it."""
    found = Timestamp()
    found.FromDatetime(at)
    return found
