"""The pages that are looked at: the console before a fake gateway, the docs, the sandbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Page

from tests.amk_sandbox.harness import CONFIRMED
from tests.amk_sandbox.world import world
from tests.pages.fake_operations import served_console, token

CONSOLE = {
    "sign in": "",
    "today": "#/today",
    "payments": "#/payments",
    "found": "#/payments?q=P100000003",
    "one payment": "#/payments/150002",
    "one that differs": "#/payments/150003",
    "exceptions": "#/exceptions",
    "events": "#/events",
    "system": "#/system",
}
SANDBOX = (
    *("story", "transfers", "webhooks", "codes", "accounts", "calls"),
    *("events", "policies", "faults"),
)
PAGES = [
    *(f"console: {name}" for name in CONSOLE),
    *(f"sandbox: {name}" for name in SANDBOX),
    "docs",
]
_SHOWN = {  # what is there once a page of the console is drawn
    "sign in": "#token",
    "today": ".five",
    "one payment": ".timeline",
    "one that differs": ".unlike",
    "exceptions": ".exception",
}


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Where everything listens."""

    console: str
    docs: str
    sandbox: str

    async def show(self, page: Page, name: str) -> None:
        """Open a page of `PAGES` and wait until it is drawn."""
        what, _, part = name.partition(": ")
        if what == "docs":
            await page.goto(self.docs)
            await page.wait_for_selector(".opblock-tag-section")
        elif what == "sandbox":
            await page.goto(f"{self.sandbox}/#{part}")
            await page.wait_for_selector("#panel")
        else:
            await self._sign_in(page, signed_in=part != "sign in")
            await page.goto(f"{self.console}{CONSOLE[part]}")
            await page.wait_for_selector(_SHOWN.get(part, "table"))

    async def _sign_in(self, page: Page, *, signed_in: bool) -> None:
        if not page.url.startswith(self.console):
            await page.goto(self.console)
        if signed_in and not await page.evaluate("sessionStorage.token"):
            await page.evaluate(
                "(given) => { sessionStorage.token = given }", token(subject="dara")
            )
            await page.reload()


@asynccontextmanager
async def staged(*, var: Path) -> AsyncIterator[Stages]:
    """Serve all pages; in the sandbox a bill and a code were paid and a fault is on."""
    async with (
        served_console() as console,
        world(var, (409, '{"success":false}'), (200, CONFIRMED)) as found,
    ):
        client = found.client
        await client.post("/sandbox/pay?query=P123456789")
        await client.post("/sandbox/khqr?query=P100000003")
        await client.post("/sandbox/khqr/150001/pay?again=true")
        await client.post("/sandbox/faults/webhook-late/on", {"times": 3})
        yield Stages(
            console=console.url,
            docs=console.url.removesuffix("console") + "docs",
            sandbox=client.base,
        )
