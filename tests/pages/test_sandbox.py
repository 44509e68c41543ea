"""The sandbox's page before a fake of the insurer: what the phone and the back office do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.amk_sandbox.harness import CONFIRMED
from tests.amk_sandbox.world import World, world
from tests.pages.browsing import Looked, opened

# Both before the page draws a frame.
_TWO_ARROWS = """() => {
  for (let press = 0; press < 2; press += 1)
    document.activeElement.dispatchEvent(
      new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
}"""

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def bank(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, (503, '{"success":false}'), (200, CONFIRMED)) as found:
        yield found


async def show(page: Page, bank: World, tab: str = "") -> None:
    await page.goto(f"{bank.client.base}/#{tab}")
    await expect(page.get_by_text("Connected")).to_be_visible()


async def test_the_phone_offers_what_is_due_and_no_policy_of_a_fault(
    bank: World, looked: Looked
) -> None:
    page = looked.page
    await show(page, bank)
    due = page.get_by_role("list", name="Policies").get_by_role("button")
    await expect(due.first).to_contain_text("150.00\u00a0USD")
    await expect(due.filter(has_text="Fault")).to_have_count(0)
    await bank.client.post("/sandbox/policies/P123456789/settle")
    await expect(due.filter(has_text="P123456789")).to_have_count(0)


async def test_a_number_that_nobody_knows_is_told_on_the_phone(
    bank: World, browser: Browser
) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("404",)
        page = looked.page
        await show(page, bank)
        await page.get_by_label("Policy or application number").fill("P000000404")
        await page.get_by_role("button", name="See the bill").click()
        await expect(page.locator("#screen")).to_contain_text("Nothing to pay")
        await page.get_by_role("button", name="Back").click()
        await expect(page.get_by_label("Policy or application number")).to_be_visible()


async def test_a_webhook_that_failed_is_shown_with_its_answer_and_sent_again(
    bank: World, looked: Looked
) -> None:
    page = looked.page
    await show(page, bank, "webhooks")
    await page.get_by_role("button", name="John Doe").click()
    await page.get_by_role("button", name="Pay 150").click()
    await expect(page.locator("#screen")).to_contain_text("Pending")
    rows = page.get_by_role("region", name="Webhooks").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_contain_text("Answered 503")
    await expect(rows.first).to_contain_text("Sent again at")
    await rows.first.get_by_text("Body and answer").click()
    await expect(rows.first.locator("pre").first).to_contain_text('"amount":150.00')
    await rows.first.get_by_role("button", name="Send the webhook").click()
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Answered 200")
    await expect(rows.first).to_contain_text("Confirmed")
    assert bank.insurer.bodies[0] == bank.insurer.bodies[1], "byte for byte"


async def test_a_fault_is_switched_on_seen_everywhere_and_switched_off(
    bank: World, looked: Looked
) -> None:
    page = looked.page
    await show(page, bank, "faults")
    await page.get_by_role("button", name="webhook-no-transfer: 3 times").click()
    on = page.locator(".switched-on")
    await expect(on).to_contain_text("webhook-no-transfer for 3 more")
    await page.get_by_role("button", name="KHQR", exact=True).click()
    await page.get_by_role("button", name="Sok Dara").click()
    await page.get_by_role("button", name="Scan and pay").click()
    await expect(page.locator("#screen")).to_contain_text("No money moved")
    await expect(on).to_contain_text("webhook-no-transfer for 2 more")
    await page.get_by_role("button", name="Switch all off").click()
    await expect(on).to_have_count(0)


async def test_the_story_follows_what_happened_last(bank: World, looked: Looked) -> None:
    page = looked.page
    await show(page, bank)
    await bank.client.post("/sandbox/khqr?query=P100000003")
    story = page.locator(".story li")
    await expect(story.first).to_contain_text("Show me a KHQR for P100000003.")
    await expect(story.last).to_contain_text("Give me a KHQR for bill 150001")
    bank.clock.advance(1)
    await bank.client.post("/sandbox/lookup?query=P100000002")
    await expect(story.first).to_contain_text("What is due on P100000002? Bill 150002")


async def test_arrows_move_between_the_tabs(bank: World, looked: Looked) -> None:
    page = looked.page
    await show(page, bank)
    await page.get_by_role("tab", name="What happened").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Payments")).to_be_focused()
    await expect(page.get_by_text("No payments yet.")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="What happened")).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="Faults")).to_be_focused()


async def test_two_quick_arrows_are_two_steps(bank: World, looked: Looked) -> None:
    page = looked.page
    await show(page, bank, "webhooks")
    await page.get_by_role("tab", name="Webhooks").focus()
    await page.evaluate(_TWO_ARROWS)
    await expect(page.get_by_role("tab", name="What happened")).to_be_focused()


async def test_a_sandbox_that_stopped_is_told(bank: World, browser: Browser) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("ERR_", "Failed to load")
        page = looked.page
        await show(page, bank)
        await page.route("**/sandbox/state", lambda route: route.abort())
        await expect(page.get_by_text("The sandbox does not answer")).to_be_visible()
        await page.unroute("**/sandbox/state")
        await expect(page.get_by_text("Connected")).to_be_visible()
