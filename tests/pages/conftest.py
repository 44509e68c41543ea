"""One browser for all pages."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.pages.browsing import MISSING, Looked, opened, running_browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield a running Chromium; skip where there is none."""
    if MISSING is not None:
        pytest.skip(MISSING)
    async with running_browser() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def looked(browser: Browser) -> AsyncIterator[Looked]:
    """Yield an empty page; script errors and blocked content fail the test."""
    async with opened(browser=browser) as found:
        yield found
