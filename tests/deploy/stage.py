"""A whole system whose gateway has a clock and a Kafka that a test may move, and its scrapes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from chassis.metrics import MetricsServer
from chassis.rpc import utc_now
from chassis.settings import Address
from gateway_svc.completer import PollPlan
from tests.support.events import Listener
from tests.support.khqr_system import ALL_SCOPES, KhqrSystem, running_khqr_system
from tests.support.metrics import scraped
from tests.support.system import KEY, Answer

_NEVER = timedelta(days=300)
_STEPS = 30  # minutes that a scenario goes on at its pace

Scrape = Mapping[str, str | None]  # by job; None: it did not answer


@dataclass(kw_only=True)
class Clock:
    """The time, moved by an offset."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        """Return the present moment as the gateway sees it."""
        return utc_now() + self.ahead


@dataclass(kw_only=True)
class Stage:
    """The system, what a test may move, and what Prometheus would see."""

    system: KhqrSystem
    clock: Clock
    kafka: Listener
    servers: dict[str, tuple[MetricsServer, Address]]
    paid: int = field(default=0)

    async def scrape(self, *, measured: bool = True) -> Scrape:
        """Return what every service says now, what waits measured unless told not to."""
        if measured:
            await self.system.gateway.metrics.run_once()
        found: dict[str, str | None] = {}
        for job, (_, address) in self.servers.items():
            try:
                found[job] = await scraped(str(address))
            except OSError:
                found[job] = None
        return found

    async def due(self, policy: str) -> dict[str, Any]:
        """Return the bill of what is due."""
        answer = await self.system.get(f"/AMK/payments?query={policy}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json["data"]
        return found

    async def pay_bill(self, bill: Mapping[str, Any], *, amount: str = "") -> int:
        """Tell of a payment of `bill`; return the status of the answer."""
        self.paid += 1
        body = (
            f'{{"id":{bill["id"]},"policyNumber":"{bill["policyNumber"]}",'
            f'"amount":{amount or bill["amount"]},"currency":"{bill["currency"]}",'
            f'"bankTransactionId":"T{self.paid}","payer":"A","paidDate":"20251007120000"}}'
        )
        told = await self.system.post(body.encode())
        return told.status

    async def repeat_bill(self, bill: Mapping[str, Any], *, times: int) -> None:
        """Tell of the last payment again, which is answered as it was."""
        for _ in range(times):
            self.paid -= 1
            assert await self.pay_bill(bill) == 200

    async def show_code(self, policy: str) -> int:
        """Ask for a code; return the status of the answer."""
        answer: Answer = await self.system.code(policy)
        return answer.status

    async def pay_code(self, policy: str, *, status: str = "SUCCESS") -> int:
        """Show a code, pay it at the bank, tell of it; return the status of the answer."""
        bill = await self.due(policy)
        assert await self.show_code(policy) == 200
        await self.system.operate(f"/sandbox/khqr/{bill['id']}/pay")
        return await self.tell(bill, status=status)

    async def tell(self, bill: Mapping[str, Any], *, status: str = "SUCCESS") -> int:
        """Tell what became of a code; return the status of the answer."""
        body = (
            f'{{"invoice_number":"{bill["id"]}","status":"{status}",'
            f'"merchant_number":"900000000290002","paid_amount":{bill["amount"]},'
            f'"currency":"{bill["currency"]}","paid_datetime":"2025-10-07 12:00:00.000000"}}'
        )
        token = KEY.token(scopes=ALL_SCOPES, now=self.clock())
        told = await self.system.call(
            "POST", "/AMK/khqr", body.encode(), Authorization=f"Bearer {token}"
        )
        return told.status

    async def all_published(self) -> None:
        """Wait until no event waits."""
        assert await self.settles(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND parked_at IS NULL", 0
        )

    async def settles(self, query: str, count: int) -> bool:
        """Wait until `query` says `count`; return whether it did within some seconds."""
        ends_at = time.monotonic() + 15
        while await self.system.rows(query) != [(count,)]:
            if time.monotonic() > ends_at:
                return False
            await asyncio.sleep(0.05)
        return True


@asynccontextmanager
async def staged(*, folder: Path) -> AsyncIterator[Stage]:
    """Run a system that asks the bank only when a test says so."""
    clock, kafka = Clock(), Listener()
    async with running_khqr_system(
        tmp_path=folder,
        database_url=f"sqlite+aiosqlite:///{folder / 'stage.sqlite'}",
        environ={"INQUIRIES_PER_MINUTE": "1000000"},
        polls=PollPlan(first=_NEVER, longest=_NEVER),
        parts={"clock": clock, "publisher": kafka},
    ) as system:
        for task in system.gateway._loops:
            if task.get_name() == "completer":
                task.cancel()  # the bank is asked when a scenario wants it, not in between
        await system.operate("/sandbox/faults/webhook-never/on")  # the scenarios tell themselves
        registries = {
            "gateway": system.gateway.metrics.registry,
            "khqr": system.khqr.metrics,
            "bridge": system.bridge.metrics.registry,
        }
        async with AsyncExitStack() as stack:
            servers = {}
            for job, registry in registries.items():
                server = MetricsServer(listen=Address(host="127.0.0.1", port=0), registry=registry)
                stack.push_async_callback(server.close)
                servers[job] = (server, await server.start())
            yield Stage(system=system, clock=clock, kafka=kafka, servers=servers)


def series_between(before: Scrape, after: Scrape) -> dict[str, str]:
    """Return input series for promtool: what went on between two scrapes goes on for half an hour.

    Counters grow each minute by what they grew, moments as well; gauges stay where they are.
    """
    found = {}
    for job, text in after.items():
        origin = f'job="{job}", instance="{job}:9100"'
        found[f"up{{{origin}}}"] = f"{int(text is not None)}x{_STEPS}"
        first = _samples(before[job] or "")
        for name, (kind, value) in _samples(text or "").items():
            was = first.get(name, (kind, 0.0))[1]
            grows = kind in {"counter", "histogram"} or name.startswith(_MOMENTS)
            series = _with_labels(name, origin)
            values = f"{was!r}+{value - was!r}x{_STEPS}" if grows else f"{value!r}x{_STEPS}"
            found[series] = values.replace("+-", "-")
    return found


_MOMENTS = ("work_measured_timestamp_seconds", "outbox_measured_timestamp_seconds")


def _samples(text: str) -> dict[str, tuple[str, float]]:
    return {
        sample.name
        + "{"
        + ", ".join(f'{label}="{one}"' for label, one in sorted(sample.labels.items()))
        + "}": (family.type, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _with_labels(name: str, more: str) -> str:
    return f"{name[:-1]}{', ' if name[-2] != '{' else ''}{more}}}"
