"""What a team would write first: FastAPI and SQLAlchemy's ORM in one process, no gRPC.

The same token check, the same validation, the same rows written: notice, payment, application,
the bill's state (its triggers write the journal), two events in the outbox. It lacks a relay,
KHQR, limits, deadlines and almost every answer but yes, which flatters it.

    python -m benchmarks.peers.fastapi_orm PORT    (DATABASE_URL, JWT_KEYS_FILE)
"""

import hashlib
import json
import os
import sys
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import jwt
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from gateway_svc import tables

_PHNOM_PENH = timezone(timedelta(hours=7))
_HUNDRED = 100


class Base(DeclarativeBase):
    """The ORM's registry."""

    metadata = tables.metadata


class Obligation(Base):
    """What is owed."""

    __table__ = tables.obligations


class Bill(Base):
    """An obligation at a bank."""

    __table__ = tables.bills


class BillNumber(Base):
    """A number that a bill was asked for by."""

    __table__ = tables.bill_numbers


class Notice(Base):
    """What the bank claims."""

    __table__ = tables.notices


class Payment(Base):
    """Money that has moved."""

    __table__ = tables.payments


class Application(Base):
    """A payment that pays an obligation."""

    __table__ = tables.applications


class Event(Base):
    """A fact for downstream."""

    __table__ = tables.outbox


@dataclass
class Confirmation:
    """The webhook."""

    id: int
    policyNumber: str  # noqa: N815 - the bank's spelling
    amount: Decimal
    currency: str
    bankTransactionId: str  # noqa: N815
    payer: str
    paidDate: str  # noqa: N815


_engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=0)
_sessions = async_sessionmaker(_engine, expire_on_commit=False)
_keys = {
    key["kid"]: jwt.PyJWK(key)
    for key in json.loads(Path(os.environ["JWT_KEYS_FILE"]).read_text())["keys"]
}
app = FastAPI()


def _caller(authorization: Annotated[str, Header()]) -> dict[str, Any]:
    token = authorization.removeprefix("Bearer ")
    try:
        key = _keys[jwt.get_unverified_header(token)["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=["ES256"], audience="payment-gateway", issuer="payment-gateway"
        )
    except (KeyError, jwt.InvalidTokenError):
        raise HTTPException(401) from None
    if "payments:confirm" not in claims["scope"].split() or claims.get("bank") != "AMK":
        raise HTTPException(403)
    return claims


@asynccontextmanager
async def _session() -> Any:
    async with _sessions() as session, session.begin():
        yield session


@app.post("/AMK/payments")
async def confirm(
    said: Confirmation, caller: Annotated[dict[str, Any], Depends(_caller)]
) -> dict[str, Any]:
    """Record a payment."""
    _validate(said)
    async with _session() as session:
        before = await session.scalar(
            select(Notice).where(
                Notice.bank_code == "AMK",
                Notice.channel == "BILL",
                Notice.natural_key == said.bankTransactionId,
            )
        )
        if before is None:
            await _record(session, said, caller)
    return {
        "success": True,
        "data": {
            "transactionId": said.bankTransactionId,
            "paymentReferenceId": str(said.id),
            "status": "CONFIRMED",
            "message": "Payment successfully processed",
        },
    }


def _validate(said: Confirmation) -> None:
    if said.currency not in ("USD", "KHR") or not 1 <= len(said.payer) <= 140:  # noqa: PLR2004
        raise HTTPException(400)
    datetime.strptime(said.paidDate, "%Y%m%d%H%M%S")  # noqa: DTZ007


async def _record(session: AsyncSession, said: Confirmation, caller: dict[str, Any]) -> None:
    now = datetime.now(tz=UTC)
    bill = await session.scalar(select(Bill).where(Bill.id == said.id))
    if bill is None:
        raise HTTPException(404)
    obligation = await session.scalar(
        select(Obligation).where(Obligation.id == bill.obligation_id).with_for_update()
    )
    number = await session.get(BillNumber, (bill.id, said.policyNumber))
    paid = await session.get(Application, bill.obligation_id)
    hundredths = int(said.amount * _HUNDRED)
    fits = (hundredths, said.currency) == (bill.amount_hundredths, bill.currency)
    if obligation is None or number is None or paid is not None or not fits:
        raise HTTPException(409)
    paid_at = datetime.strptime(said.paidDate, "%Y%m%d%H%M%S").replace(tzinfo=_PHNOM_PENH)
    state = {"state_at": now, "state_cause": "bill notice"}
    notice = Notice(
        bank_code="AMK", channel="BILL", natural_key=said.bankTransactionId, contradicts=False,
        bill_id=bill.id, policy_number=said.policyNumber, amount_hundredths=hundredths,
        currency=said.currency, payer=said.payer, paid_at=paid_at, received_at=now,
        body_digest=hashlib.sha256(repr(said).encode()).hexdigest(), subject=caller["sub"],
        request_id=str(uuid.uuid4()), answer="{}", flags="", state="DONE", **state,
    )  # fmt: skip
    session.add(notice)
    await session.flush()
    payment = Payment(
        bank_code="AMK", transaction_id=said.bankTransactionId, channel="BILL",
        notice_id=notice.id, bill_id=bill.id, obligation_id=obligation.id,
        amount_hundredths=hundredths, currency=said.currency, paid_at=paid_at, recorded_at=now,
        assurance="BANK_NOTICE", state="APPLIED", **state,
    )  # fmt: skip
    session.add(payment)
    await session.flush()
    session.add(Application(obligation_id=obligation.id, payment_id=payment.id, applied_at=now))
    bill.state, bill.state_at, bill.state_cause = "PAID", now, "bill notice"
    obligation.event_sequence += 2
    for topic in ("confirmed", "success"):
        value = {
            "eventId": str(uuid.uuid4()),
            "policyNumber": said.policyNumber,
            "amount": str(said.amount),
            "currency": said.currency,
            "transactionId": said.bankTransactionId,
        }
        session.add(
            Event(
                event_id=value["eventId"],
                topic=f"bench.gateway.payment.{topic}",
                event_key=said.policyNumber,
                value=json.dumps(value).encode(),
                request_id=notice.request_id,
                created_at=now,
            )
        )


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
