"""A stage for every test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.khqr_svc.stage import Stage, running_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Return a running service between a fake gateway and a fake bank."""
    async with running_stage(tmp_path=tmp_path) as running:
        yield running
