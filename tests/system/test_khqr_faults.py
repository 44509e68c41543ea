"""Everything a bank can answer: each magic policy of the sandbox, by its effects on our side.

The table below is the whole list; a last test holds it against the sandbox's own.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from amk_sandbox.faults import FAULTS
from tests.support.khqr_system import KhqrSystem, running_khqr_system

APPLIED_EVENTS = ["generated-event", "verified", "confirmed", "success"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What is left once things have settled."""

    payments: tuple[str, ...]
    notices: tuple[tuple[str, str | None], ...]
    success: int
    words: str = ""


APPLIED = Effect(payments=("APPLIED",), notices=(("DONE", None),), success=1)
WAITING = Effect(payments=(), notices=(("VERIFYING", None),), success=0)

PAID = {
    "P900000001": WAITING,  # verify never answers
    "P900000002": WAITING,  # byte by byte
    "P900000003": WAITING,  # 500
    "P900000004": WAITING,  # HTML
    "P900000005": APPLIED,  # PENDING twice, then paid
    "P900000006": APPLIED,  # unknown twice, then paid
    "P900000007": Effect(
        payments=("UNAPPLIED",), notices=(("HELD", "VERIFICATION_DIFFERS"),), success=0
    ),
    "P900000008": Effect(
        payments=("UNAPPLIED",), notices=(("HELD", "VERIFICATION_DIFFERS"),), success=0
    ),
    "P900000009": Effect(payments=(), notices=(("HELD", "VERIFICATION_DIFFERS"),), success=0),
    "P900000018": APPLIED,  # tokens revoked once
    "P900000019": APPLIED,  # the code as a bare image
    "P900000020": APPLIED,  # the code as text
    "P900000021": APPLIED,  # five webhooks at once
    "P900000022": APPLIED,  # the webhook is late
    "P900000023": Effect(payments=("APPLIED",), notices=(), success=1),  # and never comes
    "P900000024": Effect(payments=("APPLIED",), notices=(), success=1),  # and is forged
    "P900000025": APPLIED,  # again with other microseconds
    "P900000026": APPLIED,  # names another amount: refused, then found to be paid as billed
    "P900000027": Effect(
        payments=("APPLIED",), notices=(("DONE", None), ("DONE", None)), success=1
    ),
    "P900000028": Effect(
        payments=("APPLIED", "UNAPPLIED"),
        notices=(("DONE", None), ("HELD", "ALREADY_PAID")),
        success=1,
    ),
    "P900000029": WAITING,  # SUCCESS without money
}
REFUSED = {
    "P900000011": (503, "SERVER_UNAVAILABLE"),  # the generator answers 500
    "P900000012": (503, "SERVER_UNAVAILABLE"),  # refuses
    "P900000013": (503, "SERVER_UNAVAILABLE"),  # is slow
    "P900000014": (502, "AMK_UNKNOWN_ERROR"),  # draws another amount
    "P900000015": (502, "AMK_UNKNOWN_ERROR"),  # a wrong CRC
    "P900000016": (502, "AMK_UNKNOWN_ERROR"),  # no image
    "P900000017": (502, "AMK_UNKNOWN_ERROR"),  # HTML
}
FIRST_ANSWERS = {
    "P900000001": 503,
    "P900000002": 503,
    "P900000003": 503,
    "P900000004": 502,
    "P900000005": 422,
    "P900000006": 422,
    "P900000007": 409,
    "P900000008": 409,
    "P900000009": 409,
    "P900000024": 401,
    "P900000026": 409,
    "P900000029": 422,
}


@pytest.fixture
async def system(tmp_path: Path, sqlite_url: str) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(tmp_path=tmp_path, database_url=sqlite_url) as running:
        yield running


async def effect_of(system: KhqrSystem) -> Effect:
    return Effect(
        payments=tuple(await system.payments()),
        notices=tuple((state, hold) for state, hold in await system.notices()),
        success=(await system.topics()).count("success"),
    )


async def settles(system: KhqrSystem, effect: Effect) -> None:
    """Wait until `effect` is what is left."""
    ends_at = time.monotonic() + 20
    while True:
        found = await effect_of(system)
        if found == effect:
            return
        assert time.monotonic() < ends_at, found
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("policy", PAID)
async def test_a_code_paid_at_a_bank_in_this_mood_leaves(system: KhqrSystem, policy: str) -> None:
    code = await system.code(policy)
    assert code.status == 200, code.body
    bill_id = code.json["data"]["paymentId"]
    await system.operate(f"/sandbox/khqr/{bill_id}/pay")
    await settles(system, PAID[policy])
    if policy in FIRST_ANSWERS:
        answers = await _answers(system)
        assert answers[0] == FIRST_ANSWERS[policy], answers
    if PAID[policy].success:
        standing = await system.get(f"/AMK/payments/{bill_id}")
        assert standing.json["data"]["status"] == "PAID"
        assert (await system.code(policy)).json["error"]["message"] == "No premium due"
    else:
        assert "confirmed" not in await system.topics()


@pytest.mark.parametrize("policy", REFUSED)
async def test_a_generator_in_this_mood_gives_no_code(system: KhqrSystem, policy: str) -> None:
    answer = await system.code(policy)
    assert (answer.status, answer.code) == REFUSED[policy]
    assert await system.rows("SELECT count(*) FROM codes") == [(0,)]
    assert "generated-event" not in await system.topics()


async def test_a_paid_code_gives_the_three_events_after_its_own(system: KhqrSystem) -> None:
    code = await system.code("P123456789")
    await system.operate(f"/sandbox/khqr/{code.json['data']['paymentId']}/pay")
    await settles(system, APPLIED)
    assert await system.topics() == APPLIED_EVENTS


def test_every_policy_of_the_sandbox_is_in_the_table() -> None:
    assert {fault.policy for fault in FAULTS if fault.policy} == PAID.keys() | REFUSED.keys()


async def _answers(system: KhqrSystem) -> list[int]:
    """Return the statuses of our answers to the bank's webhooks, in the order they came."""
    ends_at = time.monotonic() + 8
    while True:
        state = await system.state()
        answers = sorted(
            (answer["sentAt"], answer["status"])
            for notice in state["notices"]
            for answer in notice["answers"]
            if answer["status"]
        )
        if answers or time.monotonic() > ends_at:
            return [status for _, status in answers]
        await asyncio.sleep(0.1)
