"""How a bill meets a fault: by switch, or by its payer's name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from amk_sandbox.faults import FAULTS, Fault
from tests.amk_sandbox.partner import Answer
from tests.amk_sandbox.world import World, world

BILL = 150777
BY_CODE = {fault.code: fault for fault in FAULTS}


async def generate(found: World, payer: str = "John Doe") -> Answer:
    """Ask for a code of the bill."""
    return await found.partner.generate(bill=str(BILL), amount="25.00", payer=payer)


@asynccontextmanager
async def meeting(
    tmp_path: Path, fault: Fault, *, by_policy: bool
) -> AsyncIterator[tuple[World, str]]:
    """Yield a world where the bill meets `fault`, by switch or by its payer."""
    async with world(tmp_path) as found:
        if not by_policy:
            times = {"times": fault.times} if fault.times else None
            status, _ = await found.client.post(f"/sandbox/faults/{fault.code}/on", times)
            assert status == 200
        yield found, fault.payer if by_policy else "John Doe"
