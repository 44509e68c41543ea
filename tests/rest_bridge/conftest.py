"""One bridge and one fake gateway for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.rest_bridge.fakes import Stage, served


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Yield a running bridge over a fake gateway."""
    async with served() as found:
        yield found
