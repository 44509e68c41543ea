"""The whole system under attack: the bridge as the program it is, the gateway, a real database.

| what is sent | what is left behind |
|---|---|
| every ambiguous request, a good notice behind each | no row, no event |
| every request that ends its connection, a good notice behind each | no second notice |
| a notice by a stranger's address | no row |
| slowness of every form | no row; good notices beside it are each recorded once |
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chassis.settings import Address
from tests.rest_bridge.corpus import CLOSING, LAST, REFUSED, SECOND
from tests.rest_bridge.test_slow_clients import FORMS
from tests.rest_bridge.wire import PATIENCE_S, all_heard, connected, heard, post
from tests.support.system import System

FACTS = ("notices", "payments", "applications", "verifications", "khqr_notices", "outbox")


@asynccontextmanager
async def program(system: System, **variables: str) -> AsyncIterator[Address]:
    """Run `python -m rest_bridge` before the system's gateway; yield where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rest_bridge",
        env={
            "PATH": os.environ["PATH"],
            "BRIDGE_LISTEN": "127.0.0.1:0",
            "GATEWAY_TARGET": str(system.gateway.address),
            **variables,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            listening = json.loads(await process.stderr.readline())
        reading = asyncio.create_task(process.stderr.read())
        host, _, port = listening["addresses"][0].rpartition(":")
        yield Address(host=host, port=int(port))
        assert process.returncode is None, "the attack has ended the program"
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
            assert b"Traceback" not in await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def signed(system: System, data: bytes) -> bytes:
    """Give a request of the corpus a token that the gateway takes."""
    return data.replace(b"of.some.token", system.token.encode())


async def facts(system: System) -> dict[str, int]:
    """Return how many rows each table of facts has."""
    return {table: (await system.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in FACTS}


async def test_no_ambiguous_request_leaves_a_row_behind(system: System) -> None:
    assert (await system.get()).status == 200, "bill 150001 can be paid"
    nothing = await facts(system)
    assert set(nothing.values()) == {0}
    async with program(system) as address:
        for name, data in REFUSED.items():
            answers = await all_heard(address, signed(system, data + SECOND))
            assert [400 <= answer.status < 500 for answer in answers] == [True], name
        assert await facts(system) == nothing
        alone = signed(system, post(b"ALONE", extra=b"Connection: close\r\n"))
        (answer,) = await all_heard(address, alone)
        assert answer.status == 200, "what stood behind each of them would have been taken"
    assert (await facts(system))["notices"] == 1


async def test_what_stands_behind_the_last_request_is_never_recorded(system: System) -> None:
    assert (await system.get()).status == 200
    async with program(system) as address:
        for name, (data, _, _) in (LAST | CLOSING).items():
            answers = await all_heard(address, signed(system, data + SECOND))
            assert len(answers) == 1, name
    recorded = await system.rows("SELECT DISTINCT natural_key FROM notices")
    assert recorded == [("FIRST",)]
    assert len(await system.rows("SELECT id FROM payments")) == 1


@pytest.mark.parametrize(
    "claim", [b"", b"X-Forwarded-For: 203.0.113.9\r\n", b"Forwarded: for=203.0.113.9\r\n"]
)
async def test_a_strangers_notice_leaves_no_row(system: System, claim: bytes) -> None:
    assert (await system.get()).status == 200
    async with program(system, WEBHOOK_ALLOW="203.0.113.0/24") as address:
        notice = signed(system, post(b"X", extra=b"Connection: close\r\n" + claim))
        (answer,) = await all_heard(address, notice)
        assert answer.status == 403
    assert set((await facts(system)).values()) == {0}


async def slow(address: Address, first: bytes, drip: bytes) -> None:
    """Drip until the bridge closes."""
    async with connected(address) as (reader, writer):
        writer.write(first)
        closing = asyncio.create_task(reader.read())
        for byte in drip:
            writer.write(bytes((byte,)))
            await asyncio.wait((closing,), timeout=0.1)
            if closing.done():
                break
        await asyncio.wait((closing,))
        closing.exception()


async def test_slow_clients_are_all_closed_and_good_notices_beside_them_recorded(
    system: System,
) -> None:
    assert (await system.get()).status == 200
    async with program(system) as address, asyncio.timeout(4 * PATIENCE_S):
        attackers = [
            asyncio.create_task(slow(address, signed(system, first), drip))
            for first, drip in FORMS.values()
            for _ in range(20)
        ]
        count = 0
        while not all(one.done() for one in attackers):
            count += 1
            async with connected(address) as (reader, writer):
                writer.write(signed(system, post(b"GOOD%d" % count)))
                answer = await heard(reader)
                assert answer is not None
                assert answer.status == (200 if count == 1 else 409), "one bill is paid once"
            await asyncio.sleep(0.1)
    rows = await system.rows("SELECT natural_key FROM notices")
    assert sorted(rows) == sorted((f"GOOD{number + 1}",) for number in range(count))
