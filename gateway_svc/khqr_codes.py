"""Keeping codes for KhqrService: one live code per bill, its event in the same transaction."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from chassis.attempts import repeated
from chassis.database import Database
from chassis.errors import ServiceError
from chassis.outbox import append
from gateway_svc.bill_store import find_standing
from gateway_svc.code_store import Code, RecordedCode, live_code, record_code
from gateway_svc.completer import PollPlan
from gateway_svc.events import EventWriter
from gateway_svc.tables import outbox


class KhqrCodes:
    """The codes that can be scanned."""

    def __init__(
        self,
        *,
        database: Database,
        events: EventWriter,
        clock: Callable[[], datetime],
        plan: PollPlan,
        committed: Callable[[], None],
    ) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._plan = plan
        self._committed = committed
        self._recordings: set[asyncio.Task[Code]] = set()

    async def live(self, *, bank_code: str, bill_id: int) -> Code | None:
        """Return the code of a bill that can be scanned now, or None.

        :raises ServiceError: RESOURCE_NOT_FOUND; this bank has no such bill.
        """
        async with self._database.reading() as connection:
            code = await live_code(
                connection=connection, bank_code=bank_code, bill_id=bill_id, now=self._clock()
            )
            if code is None and not await find_standing(
                connection=connection, bank_code=bank_code, bill_id=bill_id
            ):
                raise _not_open(bill_id)
        return code

    async def record(self, *, bank_code: str, bill_id: int, offered: Code, request_id: str) -> Code:
        """Keep `offered` unless another code is live already, and return the one that is live.

        A caller that leaves does not cancel the recording.

        :raises ServiceError: RESOURCE_NOT_FOUND; the bill is not there or not open.
        """
        recording = asyncio.create_task(
            self._record(
                bank_code=bank_code, bill_id=bill_id, offered=offered, request_id=request_id
            )
        )
        self._recordings.add(recording)
        recording.add_done_callback(self._recordings.discard)
        return await asyncio.shield(recording)

    async def _record(
        self, *, bank_code: str, bill_id: int, offered: Code, request_id: str
    ) -> Code:
        recorded = await repeated(
            work=lambda: self._record_once(bank_code, bill_id, offered, request_id)
        )
        self._committed()
        return recorded.code

    async def _record_once(
        self, bank_code: str, bill_id: int, offered: Code, request_id: str
    ) -> RecordedCode:
        now = self._clock()
        async with self._database.transaction(name="khqr_code") as connection:
            recorded = await record_code(
                connection=connection,
                bank_code=bank_code,
                bill_id=bill_id,
                offered=offered,
                at=now,
                first_poll_at=now + self._plan.first,
            )
            if recorded is None:
                raise _not_open(bill_id)
            await append(
                connection=connection,
                table=outbox,
                events=self._events.of_code(recorded=recorded, request_id=request_id, at=now),
                at=now,
            )
        return recorded


def _not_open(bill_id: int) -> ServiceError:
    return ServiceError(
        reason="RESOURCE_NOT_FOUND", message="No open bill", details=f"Id: {bill_id}"
    )
