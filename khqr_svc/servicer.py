"""KhqrService: proto <-> domain, one use case per RPC."""

from collections.abc import Callable
from typing import Any

from google.type import decimal_pb2

from chassis.errors import BadRequest, ServiceError, Violation
from chassis.rate_limit import RateLimit
from chassis.rpc import call_being_served, refuse_other_bank
from khqr_svc.banks.factory import KhqrServiceFactory
from khqr_svc.banks.port import KhqrBank
from khqr_svc.generation import Generation
from payments.khqr.v1 import khqr_service_pb2 as pb
from payments.khqr.v1 import khqr_service_pb2_grpc as rpc

_ANSWER_MARGIN_S = 0.1  # of a deadline, so that the reason of a failure still travels


class KhqrServicer(rpc.KhqrServiceServicer):
    """Serves the contract; rules of fields and the token were checked before it is reached."""

    def __init__(
        self,
        *,
        banks: KhqrServiceFactory,
        generation: Generation,
        limit: RateLimit,
        budget_s: float,
        timer: Callable[[], float],
    ) -> None:
        self._banks = banks
        self._generation = generation
        self._limit = limit
        self._budget_s = budget_s
        self._timer = timer

    async def GenerateKhqr(
        self, request: pb.GenerateKhqrRequest, context: Any
    ) -> pb.GenerateKhqrResponse:
        """Answer with a code for what is due, and what it asks for."""
        bank = self._bank_of_call(request.bank_code)
        self._refuse_haste()
        generated = await self._generation.generate(
            bank=bank, number=request.bill_number, deadline=self._deadline(context)
        )
        bill = generated.bill
        return pb.GenerateKhqrResponse(
            payment_id=bill.bill_id,
            policy_id=bill.policy_number,
            customer_name=bill.payer,
            amount=decimal_pb2.Decimal(value=str(bill.money)),
            currency=bill.money.currency.value,
            qr_code=generated.code.image,
        )

    def _bank_of_call(self, bank_code: pb.BankCode) -> KhqrBank:
        if bank_code.bank not in ("", bank_code.id):
            raise BadRequest(
                violations=[
                    Violation(field="bankCode.bank", description="must be the same as bankCode.id")
                ]
            )
        bank = self._banks.bank(bank_code=bank_code.id)
        refuse_other_bank(bank_code=bank.code)
        return bank

    def _refuse_haste(self) -> None:
        """Bound how fast one caller may ask; the gateway leaves that to us."""
        wait_s = self._limit.wait_s(key=call_being_served.get().caller.subject)
        if wait_s:
            raise ServiceError(
                reason="RATE_LIMITED", message="Too many codes asked for", retry_after_s=wait_s
            )

    def _deadline(self, context: Any) -> float:
        """Return the moment of the timer at which this call must have its answer."""
        remaining_s: float | None = context.time_remaining()
        left_s = self._budget_s if remaining_s is None else min(remaining_s, self._budget_s)
        return self._timer() + left_s - _ANSWER_MARGIN_S
