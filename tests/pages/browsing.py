"""A real browser that reaches this machine alone, and what it must never say."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
MISSING = (
    None
    if Path(CHROMIUM).exists()
    else f"{CHROMIUM} is not installed (apt-get install chromium); nothing was looked at"
)
# Without them Chromium asks its maker for updates, spelling lists and clocks.
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    "--disable-features=OptimizationHints,MediaRouter,Translate,InterestFeedContentSuggestions",
    # Whatever asks for another host meets nobody.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_TELL_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
KHMER_FONTS = shutil.which("fc-list")


@dataclass
class Looked:
    """A page that is being looked at, and what went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    # Answers that a test provokes are told on the browser's console too.
    expected: tuple[str, ...] = ()

    async def faults(self) -> list[str]:
        """Return errors of scripts and everything that the page's policy blocked."""
        violations = await self.page.evaluate("window.violations ?? []")
        return [
            one
            for one in [*self.errors, *violations]
            if not any(words in one for words in self.expected)
        ]


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run Chromium without a window until the block ends."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(_QUIET), timeout=60_000
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    *,
    browser: Browser,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    language: str = "en",
) -> AsyncIterator[Looked]:
    """Open an empty page in a profile of its own; script errors fail the test at the end."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale=language,
        reduced_motion="reduce",
    )
    await context.add_init_script(_TELL_VIOLATIONS)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    looked = Looked(page=page)

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            looked.errors.append(f"{message.text} {message.location.get('url', '')}")

    page.on("console", note)
    page.on("pageerror", lambda problem: looked.errors.append(str(problem)))
    try:
        yield looked
        faults = await looked.faults()
        assert not faults, f"the page said: {faults}"
    finally:
        await context.close()
