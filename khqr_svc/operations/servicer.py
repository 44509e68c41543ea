"""KhqrOperationsService: tells how this process stands; it keeps nothing else."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chassis.errors import ServiceError
from chassis.process_report import ProcessReport
from chassis.rpc import call_being_served
from payments.khqr.v1 import operations_service_pb2 as pb
from payments.khqr.v1 import operations_service_pb2_grpc as rpc


class KhqrOperationsServicer(rpc.KhqrOperationsServiceServicer):
    """Serves the contract; the token was checked before it is reached."""

    def __init__(self, *, report: ProcessReport, clock: Callable[[], datetime]) -> None:
        self._report = report
        self._clock = clock

    async def GetKhqrSystem(
        self, request: pb.GetKhqrSystemRequest, context: Any
    ) -> pb.GetKhqrSystemResponse:
        """Answer how this process stands; a bank's token is none of an operator."""
        if call_being_served.get().caller.bank is not None:
            raise ServiceError(
                reason="FORBIDDEN",
                message="The token does not allow this call",
                details="A token bound to a bank is none of an operator",
            )
        return pb.GetKhqrSystemResponse(process=self._report.told(now=self._clock()))
