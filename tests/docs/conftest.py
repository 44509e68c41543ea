"""A whole system whose bank is the sandbox, as somebody who reads the documents has it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_svc.completer import PollPlan
from tests.support.khqr_system import KhqrSystem, running_khqr_system

# Nobody polls here: what a reader sees is what the bank's own notices do.
_NEVER = PollPlan(
    first=timedelta(hours=1), longest=timedelta(hours=2), after_expiry=timedelta(hours=1)
)


@pytest.fixture
async def system(tmp_path: Path, sqlite_url: str) -> AsyncIterator[KhqrSystem]:
    """Return a fresh system; its first bill is 150001."""
    async with running_khqr_system(
        tmp_path=tmp_path, database_url=sqlite_url, polls=_NEVER
    ) as running:
        yield running
