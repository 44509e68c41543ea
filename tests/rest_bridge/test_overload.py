"""A bridge that is asked for more than it can do. Four places, one kept for webhooks.

| when | a read | a webhook | a page of the bridge |
|---|---|---|---|
| three reads are under way | waits, two of them | starts | is answered |
| two more wait | 503 and Retry-After, at once | starts | is answered |
| every place is taken | 503 | waits, four of them | is answered |
| four webhooks wait | 503 | 503 | is answered |
| its time is up while it waits | 503, never started | 503, never started | |
| the service says "too many" | | 503; fewer are sent to it, the rest waits here | |

What is shed is shed before its token, body or JSON is looked at.
"""

import asyncio

import pytest

from tests.rest_bridge.crowd import BUDGET_S, JSON, crowd
from tests.rest_bridge.fakes import BEARER
from tests.rest_bridge.wire import NOTICE

PAGES = ["/livez", "/readyz", "/openapi.json", "/docs"]
# what is sent while there is no room for it: method, headers, body
SHED: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/AMK/payments?query=P123456789", BEARER, b""),
    ("GET", "/AMK/payments?query=!", BEARER, b""),
    ("GET", "/AMK/payments/150001", {}, b""),
    ("POST", "/AMK/payments", JSON, NOTICE % b"X"),
    ("POST", "/AMK/payments", JSON, b"no JSON"),
    ("POST", "/AMK/payments", {}, b""),
    ("POST", "/AMK/payments", {**JSON, "Content-Encoding": "gzip"}, b"\x1f\x8b"),
    ("POST", "/AMK/payments", JSON, b" " * 100_000),
]


async def test_reads_never_take_the_place_that_is_kept_for_webhooks() -> None:
    async with crowd() as found:
        await found.reads(3)
        await found.webhooks(1)
        assert found.started == ["P1", "P2", "P3", "T4"]
        assert await found.statuses() == [200] * 4


async def test_reads_are_shed_first_and_webhooks_last() -> None:
    async with crowd() as found:
        await found.reads(3)
        await found.reads(2)
        await found.reads(2)
        assert found.shed == {"other": 2, "webhook": 0}
        await found.webhooks(1)
        await found.webhooks(4)
        assert found.shed == {"other": 2, "webhook": 0}
        await found.webhooks(3)
        assert found.shed == {"other": 2, "webhook": 3}
        assert found.started == ["P1", "P2", "P3", "T8"]
        assert found.stage.running.admission.waiting == 6
        assert sorted(await found.statuses()) == [200] * 10 + [503] * 5


async def test_whoever_waits_webhooks_go_first() -> None:
    async with crowd() as found:
        await found.reads(3)
        await found.webhooks(1)
        await found.reads(1)
        await found.webhooks(2)
        statuses = await found.statuses()
        assert statuses == [200] * 7
        assert found.started[4:6] == ["T6", "T7"]


async def test_a_call_whose_time_is_up_while_it_waits_is_never_started() -> None:
    async with crowd() as found:
        await found.reads(3)
        await found.webhooks(1)
        await found.webhooks(2)
        await found.reads(1)
        found.hand.now_s += BUDGET_S + 1
        assert await found.statuses() == [200] * 4 + [503] * 3
        assert found.started == ["P1", "P2", "P3", "T4"]
        await found.reads(1)
        assert found.started[4:] == ["P8"], "the next finds room"


@pytest.mark.parametrize(("method", "path", "headers", "body"), SHED)
async def test_what_is_shed_is_not_looked_at(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    async with crowd() as found:
        await found.fill()
        async with found.stage.client.request(
            method, found.stage.url(path), headers=headers, data=body or None
        ) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert '"code":"SERVER_UNAVAILABLE"' in await response.text()
        assert len(found.started) == 4


@pytest.mark.parametrize("path", PAGES)
async def test_the_bridges_own_pages_are_answered_all_the_time(path: str) -> None:
    async with crowd() as found:
        await found.webhooks(3)
        await found.reads(3)
        async with found.stage.client.get(found.stage.url(path)) as response:
            assert response.status == 200


async def test_a_crowd_of_any_size_leaves_only_so_many_under_way_and_all_is_well_after() -> None:
    async with crowd() as found:
        await found.reads(40)
        assert found.started == ["P1", "P2", "P3"]
        assert found.shed == {"other": 35, "webhook": 0}
        statuses = await found.statuses()
        assert statuses.count(200) == 5
        assert statuses.count(503) == 35
        before = len(found.started)
        await found.reads(3)
        assert len(found.started) == before + 3
        assert await found.statuses() == statuses + [200] * 3
        assert found.stage.running.admission.waiting == 0
        assert found.stage.running.admission.under_way == 0


async def test_a_slow_body_holds_no_place() -> None:
    async with crowd() as found:
        slow = [
            await asyncio.open_connection(found.stage.address.host, found.stage.address.port)
            for _ in range(10)
        ]
        for _, writer in slow:
            writer.write(
                b"POST /AMK/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer of.some.token\r\n"
                b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
        while len(found.stage.running.server.connections) < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await found.webhooks(3)
        assert found.started == ["T1", "T2", "T3"]
        for _, writer in slow:
            writer.transport.abort()


async def test_many_who_ask_whether_it_is_ready_ask_the_services_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with crowd() as found:
        asked, answer = [], asyncio.Event()

        async def readiness(*, timeout_s: float) -> dict[str, str]:
            asked.append(timeout_s)
            await answer.wait()
            return {"gateway": "SERVING"}

        monkeypatch.setattr(found.stage.running.upstream, "readiness", readiness)
        url = found.stage.url("/readyz")
        asking = [asyncio.create_task(found.stage.client.get(url)) for _ in range(20)]
        server = found.stage.running.server
        while sum(one._request_in_progress for one in server.connections) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        answer.set()
        assert [one.status for one in await asyncio.gather(*asking)] == [200] * 20
        assert len(asked) == 1


async def test_what_the_service_behind_has_no_room_for_is_kept_here() -> None:
    async with crowd() as found:
        await found.webhooks(4)
        found.has_room = False
        assert await found.statuses() == [503] * 4
        found.has_room = True
        found.let_go.clear()
        await found.webhooks(4)
        assert len(found.started) == 4 + 3, "a place fewer: the fourth waits here"
        assert await found.statuses() == [503] * 4 + [200] * 4


async def test_a_partner_whose_bank_is_slow_costs_another_none_of_its_places() -> None:
    async with crowd() as found:
        found.let_go.set()
        await found.webhooks(1)
        await found.webhooks(1, bank="XYZ")
        await asyncio.gather(*found.tasks)
        found.let_go.clear()
        await found.webhooks(4)
        found.has_room = False
        assert await found.statuses() == [200] * 2 + [503] * 4
        found.has_room = True
        found.let_go.clear()
        before = len(found.started)
        await found.webhooks(4, bank="XYZ")
        assert len(found.started) == before + 4
