"""A bridge as most write it: FastAPI, uvicorn and a grpc.aio stub in front of our gateway.

python -m benchmarks.peers.fastapi_bridge PORT    (GATEWAY_TARGET)
"""

import os
import sys
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

import grpc
import uvicorn
from fastapi import FastAPI, Header, HTTPException

from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc

_PHNOM_PENH = timezone(timedelta(hours=7))
_STATUS = {grpc.StatusCode.UNAVAILABLE: 503, grpc.StatusCode.UNAUTHENTICATED: 401}


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


_stubs: list[Any] = []


@asynccontextmanager
async def _lifespan(_: FastAPI) -> Any:
    async with grpc.aio.insecure_channel(os.environ["GATEWAY_TARGET"]) as channel:
        _stubs.append(rpc.GatewayServiceStub(channel))
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/AMK/payments")
async def confirm(said: Confirmation, authorization: Annotated[str, Header()]) -> dict[str, Any]:
    """Ask the gateway to record a payment."""
    request = pb.ConfirmPaymentRequest(
        bank_code="AMK",
        id=said.id,
        policy_number=said.policyNumber,
        currency=said.currency,
        bank_transaction_id=said.bankTransactionId,
        payer=said.payer,
    )
    request.amount.value = str(said.amount)
    paid = datetime.strptime(said.paidDate, "%Y%m%d%H%M%S").replace(tzinfo=_PHNOM_PENH)
    request.paid_date.FromDatetime(paid)
    try:
        answer = await _stubs[0].ConfirmPayment(
            request,
            timeout=5,
            metadata=(("authorization", authorization), ("x-request-id", str(uuid.uuid4()))),
        )
    except grpc.aio.AioRpcError as error:
        raise HTTPException(_STATUS.get(error.code(), 500)) from None
    status = pb.ConfirmationStatus.Name(answer.status).removeprefix("CONFIRMATION_STATUS_")
    return {
        "success": True,
        "data": {
            "transactionId": answer.transaction_id,
            "paymentReferenceId": answer.payment_reference_id,
            "status": status,
            "message": answer.message,
        },
    }


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
