"""`make screenshots`: the pictures of docs/pictures, taken from the pages themselves.

The console stands before the fake gateway of the tests, which tells a whole day's work; the
sandbox is a real one of `payctl up`, in which a bill and a code are paid.
"""

import asyncio
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page

from tests.pages.browsing import MISSING, opened, running_browser
from tests.pages.fake_operations import served_console, token
from tests.payctl.running_up import payctl_up

_FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
_COLOURS, _ROUNDS = 255, 4


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture of the console."""

    name: str
    at: str
    language: str = "en"
    dark: bool = False
    width: int = 1280
    height: int = 820


PICTURES = [
    Picture(name="console-today", at="#/today"),
    Picture(name="console-today-km", at="#/today", language="km", dark=True),
    Picture(name="console-payment", at="#/payments/150002", height=900),
    Picture(name="console-payment-km", at="#/payments/150003", language="km", height=860),
    Picture(name="console-exceptions", at="#/exceptions", height=620),
    Picture(name="console-events", at="#/events", dark=True),
    Picture(name="console-system", at="#/system", height=860),
    Picture(name="console-phone", at="#/today", width=360, height=780),
]


async def keep(page: Page, name: str) -> None:
    """Write what the page shows as a small PNG."""
    image = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    # A palette is a third of the size; the rounds bring its colours to where the page has them.
    small = image.quantize(
        _COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=_ROUNDS, dither=Image.Dither.NONE
    )
    small.save(_FOLDER / f"{name}.png", optimize=True)
    sys.stdout.write(f"{name}.png {(_FOLDER / f'{name}.png').stat().st_size // 1024} KB\n")


async def take_console(browser: Browser) -> None:
    """Take the console's pictures."""
    async with served_console() as console:
        for one in PICTURES:
            async with opened(
                browser=browser,
                width=one.width,
                height=one.height,
                dark=one.dark,
                language=one.language,
            ) as looked:
                page = looked.page
                await page.goto(console.url)
                await page.locator("#token").fill(token(subject="dara"))
                await page.keyboard.press("Enter")
                await page.wait_for_selector(".five")
                await page.goto(f"{console.url}{one.at}")
                await page.wait_for_load_state("networkidle")
                await keep(page, one.name)


async def take_sandbox(browser: Browser, address: str) -> None:
    """Take the sandbox's pictures, paying on the way."""
    for name, language, dark in (("sandbox", "en", False), ("sandbox-km", "km", True)):
        async with opened(browser=browser, height=760, language=language, dark=dark) as looked:
            page = looked.page
            await page.goto(address)
            await page.locator('[data-key="how code"]').click()
            await page.locator(".choices button").nth(1).click()
            await page.wait_for_selector("img.code-image")
            await page.wait_for_load_state("networkidle")
            if name == "sandbox":
                await keep(page, "sandbox-code")
            await page.locator("#screen button.primary").click()
            await page.locator(".story li").nth(6 if name == "sandbox" else 5).wait_for()
            await page.locator(".story details").nth(1).locator("summary").first.click()
            await keep(page, name)


async def main() -> None:
    """Take them all."""
    if MISSING is not None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as var, payctl_up(Path(var)) as laptop:
        async with running_browser() as browser:
            await take_console(browser)
            await take_sandbox(browser, laptop.address("Sandbox page"))


if __name__ == "__main__":
    asyncio.run(main())
