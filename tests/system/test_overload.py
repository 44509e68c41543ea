"""The whole system when its neighbour is silent and everyone comes at once.

| when | then |
|---|---|
| the insurer is silent, inquiries fill their 12 places | 8 wait, the rest is 503 at once, unasked |
| meanwhile | every webhook is answered 200 and recorded once |
| the insurer answers again | so do we |
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from chassis.admission import Bounds
from chassis.settings import Address
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import Running, start
from tests.support.gateway import FakeIntegration
from tests.support.system import INQUIRY, NOTICE, System, running_system

PATIENCE_S = 30  # against hanging only
BOUNDS = Bounds(
    most=16, kept_for_vital=4, most_of_one_kind=16, waiting=8, waiting_vital=16,
    patience_s=60, patience_vital_s=60,
)  # fmt: skip


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what makes the insurer answer; until it is set it only listens."""
    event = asyncio.Event()
    answer = FakeIntegration.premium

    async def premium(self: FakeIntegration, request: web.Request) -> web.Response:
        found = await answer(self, request)
        await event.wait()
        return found

    monkeypatch.setattr(FakeIntegration, "premium", premium)
    return event


@asynccontextmanager
async def small_bridge(system: System, speaks: asyncio.Event) -> AsyncIterator[Running]:
    """Run a bridge with sixteen places before the system's gateway."""
    running = await start(
        contract=load_contract(image=read_image(path=None)),
        targets={"GATEWAY": str(system.gateway.address)},
        listen=[Address(host="127.0.0.1", port=0)],
        bounds=BOUNDS,
        budget_s=PATIENCE_S,
    )
    try:
        yield running
    finally:
        speaks.set()
        await running.drain()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 # seen from outside
        await asyncio.sleep(0.005)


async def test_webhooks_are_all_recorded_while_inquiries_are_shed(
    tmp_path: Path, sqlite_url: str, speaks: asyncio.Event
) -> None:
    async with (
        asyncio.timeout(2 * PATIENCE_S),
        running_system(tmp_path=tmp_path, database_url=sqlite_url) as system,
        small_bridge(system, speaks) as bridge,
    ):
        speaks.set()
        assert (await system.get()).status == 200, "bill 150001 can be paid"
        speaks.clear()
        url, headers = f"http://{bridge.addresses[0]}", {"Authorization": f"Bearer {system.token}"}

        async def inquire() -> int:
            async with system.http.get(url + INQUIRY, headers=headers) as response:
                return response.status

        inquiries = [asyncio.create_task(inquire()) for _ in range(60)]
        await until(lambda: sum(task.done() for task in inquiries) == 40)
        assert {task.result() for task in inquiries if task.done()} == {503}
        assert bridge.counts.values["shed", "other"] == 40
        assert (bridge.admission.under_way, bridge.admission.waiting) == (12, 8)

        async def tell(number: int) -> int:
            body = NOTICE.replace(b"AMK202510070001", b"T%d" % number)
            json = headers | {"Content-Type": "application/json"}
            async with system.http.post(f"{url}/AMK/payments", data=body, headers=json) as response:
                return response.status

        told = await asyncio.gather(*(tell(number) for number in range(20)))
        assert sorted(told) == [200] + [409] * 19, "one premium is paid once"
        assert bridge.counts.values["shed", "webhook"] == 0
        rows = await system.rows("SELECT natural_key FROM notices")
        assert sorted(rows) == sorted((f"T{number}",) for number in range(20))
        speaks.set()
        await asyncio.gather(*inquiries)
        assert (await system.rows("SELECT count(*) FROM payments"))[0] == (1,)
        await until(lambda: bridge.admission.under_way == 0)
        assert await inquire() in (200, 404), "nothing is due any more"
