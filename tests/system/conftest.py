"""A whole system on a fresh database, once per engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.system import System, running_system


@pytest.fixture
async def system(tmp_path: Path, database_url: str) -> AsyncIterator[System]:
    """Return a running bridge and gateway."""
    async with running_system(tmp_path=tmp_path, database_url=database_url) as running:
        yield running
