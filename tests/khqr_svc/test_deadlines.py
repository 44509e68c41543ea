"""Nobody waits longer than it said, and no work goes on for one that has gone.

| who hangs                      | the caller with 300 ms | afterwards                        |
|--------------------------------|------------------------|-----------------------------------|
| the generator, the sign-in     | SERVER_UNAVAILABLE     | no request is under way at the bank |
| the gateway, at any RPC        | SERVER_UNAVAILABLE     | nothing recorded                  |
| the generator, once            | SERVER_UNAVAILABLE     | one with more time gets its code  |
"""

import asyncio
from time import monotonic

import pytest
from aiohttp import web

from tests.khqr_svc.fakes import hang
from tests.khqr_svc.stage import Stage, until

SHORT_S = 0.3


@pytest.mark.parametrize("where", ["on_qr", "on_sign_in"])
async def test_a_caller_with_little_time_is_answered_and_the_bank_is_let_go(
    stage: Stage, where: str
) -> None:
    setattr(stage.bank, where, hang)
    began = monotonic()
    assert await stage.reason(timeout_s=SHORT_S) == "SERVER_UNAVAILABLE"
    assert monotonic() - began < SHORT_S + 0.1
    await until(lambda: stage.bank.under_way == 0, within_s=0.5)
    assert len(stage.bank.asked) + len(stage.bank.sign_ins) <= 2
    assert stage.gateway.count("RecordKhqr") == 0


@pytest.mark.parametrize("name", ["InquirePayment", "GetLiveKhqr", "RecordKhqr"])
async def test_a_gateway_that_hangs_costs_the_caller_no_more_than_its_time(
    stage: Stage, name: str
) -> None:
    stage.gateway.hang = {name}
    began = monotonic()
    assert await stage.reason(timeout_s=SHORT_S) == "SERVER_UNAVAILABLE"
    assert monotonic() - began < SHORT_S + 0.1


async def test_what_is_left_of_the_callers_time_travels_with_every_call(stage: Stage) -> None:
    await stage.generate(timeout_s=2.0)
    assert len(stage.gateway.remaining_s) == 3
    assert all(1.0 < remaining_s < 2.0 for remaining_s in stage.gateway.remaining_s)


async def test_an_attempt_at_the_bank_takes_two_seconds_at_most(stage: Stage) -> None:
    stage.bank.on_qr = hang
    began = monotonic()
    assert await stage.reason(timeout_s=5.0) == "SERVER_UNAVAILABLE"
    assert 1.9 < monotonic() - began < 2.6
    assert len(stage.bank.asked) == 1


@pytest.mark.parametrize("hurry_s", [SHORT_S, 1.2])
@pytest.mark.parametrize("where", ["on_qr", "on_sign_in"])
async def test_a_hurried_caller_does_not_spoil_it_for_one_with_more_time(
    stage: Stage, where: str, hurry_s: float
) -> None:
    async def hang_at_first(request: web.Request) -> web.StreamResponse | None:
        if len(stage.bank.asked) + len(stage.bank.sign_ins) < 2 + (where == "on_qr"):
            await hang(request)
        return None

    setattr(stage.bank, where, hang_at_first)
    hurried = asyncio.create_task(stage.reason(timeout_s=hurry_s))
    await until(lambda: stage.bank.under_way == 1)
    patient = asyncio.create_task(stage.generate(timeout_s=4.0))
    assert await hurried == "SERVER_UNAVAILABLE"
    assert (await patient).qr_code
    assert stage.gateway.count("RecordKhqr") == 1


async def test_stopping_waits_for_the_call_that_was_accepted(stage: Stage) -> None:
    release = asyncio.Event()

    async def wait(_request: web.Request) -> None:
        await release.wait()

    stage.bank.on_qr = wait
    call = asyncio.create_task(stage.generate())
    await until(lambda: stage.bank.under_way == 1)
    stopping = asyncio.create_task(stage.process.stop())
    await asyncio.sleep(0)
    release.set()
    assert (await call).qr_code
    await stopping
