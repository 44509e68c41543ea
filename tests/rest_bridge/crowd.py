"""A bridge with four places, one kept for webhooks, and calls that stay until they are let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.message import Message

from chassis.admission import Bounds
from chassis.errors import ServiceError
from tests.rest_bridge.fakes import BEARER, Stage, served
from tests.rest_bridge.wire import NOTICE, PATIENCE_S

# Whoever waits is patient here: what is shown is who waits, not for how long.
BOUNDS = Bounds(
    most=4, kept_for_vital=1, most_of_one_kind=4, waiting=2, waiting_vital=4,
    patience_s=60, patience_vital_s=60,
)  # fmt: skip
BUDGET_S = 60.0
JSON = {**BEARER, "Content-Type": "application/json"}


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Crowd:
    """Calls under way, told apart by their number."""

    def __init__(self, stage: Stage, hand: Hand) -> None:
        self.stage = stage
        self.hand = hand
        self.let_go = asyncio.Event()
        self.tasks: list[asyncio.Task[int]] = []
        self.has_room = True  # the gateway
        stage.gateway.behave = self._hold

    async def _hold(self, _request: Message, _context: Any) -> None:
        await self.let_go.wait()
        if not self.has_room:
            raise ServiceError(
                reason="SERVER_UNAVAILABLE", message="Too many", retry_after_s=1, overloaded=True
            )

    async def fill(self) -> None:
        """Let reads and webhooks take every place, and every place to wait."""
        await self.reads(5)
        await self.webhooks(5)

    async def reads(self, count: int) -> None:
        await self._come(count, "GET", "/AMK/payments?query=P{}", None)

    async def webhooks(self, count: int, *, bank: str = "AMK") -> None:
        await self._come(count, "POST", f"/{bank}/payments", NOTICE)

    async def _come(self, count: int, method: str, path: str, body: bytes | None) -> None:
        """Let calls come one after the other, each settled before the next."""
        for _ in range(count):
            number = len(self.tasks) + 1
            before = self._settled
            data = None if body is None else body % b"T%d" % number
            self.tasks.append(asyncio.create_task(self._call(method, path.format(number), data)))
            while self._settled == before:  # noqa: ASYNC110 # over the wire
                await asyncio.sleep(0.002)

    @property
    def _settled(self) -> int:
        """How many are with the gateway, wait, or have their answer."""
        waiting = self.stage.running.admission.waiting
        return len(self.started) + waiting + sum(task.done() for task in self.tasks)

    async def _call(self, method: str, path: str, body: bytes | None) -> int:
        async with self.stage.client.request(
            method, self.stage.url(path), data=body, headers=JSON if body else BEARER
        ) as response:
            await response.read()
            assert response.status == 200 or int(response.headers["Retry-After"])
            return response.status

    @property
    def started(self) -> list[str]:
        """What reached the gateway, in order: `P` and `T` and the number of the call."""
        return [
            getattr(one, "bank_transaction_id", "") or one.query
            for one in self.stage.gateway.requests
        ]

    @property
    def shed(self) -> dict[str, int]:
        values = self.stage.running.counts.values
        return {reason: values["shed", reason] for reason in ("other", "webhook")}

    async def statuses(self) -> list[int]:
        self.let_go.set()
        return list(await asyncio.gather(*self.tasks))


@asynccontextmanager
async def crowd(**parts: Any) -> AsyncIterator[Crowd]:
    """Yield a bridge with four places; `parts` are handed to it."""
    hand = Hand()
    async with (
        asyncio.timeout(2 * PATIENCE_S),
        served(bounds=BOUNDS, budget_s=BUDGET_S, timer=hand, **parts) as stage,
    ):
        found = Crowd(stage, hand)
        try:
            yield found
        finally:
            found.let_go.set()
            await asyncio.gather(*found.tasks, return_exceptions=True)
