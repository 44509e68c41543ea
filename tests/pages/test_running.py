"""Two minutes of a newcomer: `make run`, and nothing but the pages that it prints.

A bill and a code are paid on the sandbox page and found in the console; a code that was paid
twice leaves money over, which two people send back.
"""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.pages.browsing import MISSING, Looked, opened
from tests.payctl.running_up import Running, payctl_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a running system, as `make run` starts it."""
    if MISSING is not None:
        pytest.skip(MISSING)
    with payctl_up(tmp_path_factory.mktemp("laptop")) as running:
        yield running


async def choose(page: Page, how: str, payer: str) -> None:
    """Choose on the phone how to pay and for whom."""
    if await page.get_by_role("button", name="Pay another").count():
        await page.get_by_role("button", name="Pay another").click()
    await page.get_by_role("button", name=how, exact=True).first.click()
    await page.get_by_role("list", name="Policies").get_by_role("button", name=payer).click()


async def paid_bill(page: Page) -> str:
    """Press the one button and return the number of the bill that was paid."""
    await page.locator("#screen button.primary").click()
    await expect(page.locator("#screen")).to_contain_text("Confirmed")
    link = await page.get_by_role("link", name="Follow it in the console").get_attribute("href")
    assert link
    return link.rpartition("/")[2]


async def sign_in(page: Page, laptop: Running, name: str, at: str = "") -> None:
    await page.goto(laptop.address("Console") + at)
    await page.get_by_label("Operator's token").fill(laptop.tokens()[name])
    await page.get_by_role("button", name="Sign in").click()


async def test_a_bill_and_a_code_are_paid_and_both_are_seen(
    browser: Browser, laptop: Running
) -> None:
    async with opened(browser=browser) as phone, opened(browser=browser) as desk:
        page = phone.page
        await page.goto(laptop.address("Sandbox page"))
        await choose(page, "Bill payment", "John Doe")
        await expect(page.locator("#screen .amount")).to_have_text("150.00\u00a0USD")
        bill = await paid_bill(page)
        await choose(page, "KHQR", "Sok Dara")
        await expect(page.locator("#screen img")).to_be_visible()
        code = await paid_bill(page)
        story = page.locator(".story")
        await expect(story).to_contain_text(f"Is it true that bill {code} was paid?")
        await expect(story).to_contain_text("The premium of P100000002 is settled.")
        await page.get_by_role("tab", name="Webhooks").click()
        row = page.get_by_role("region", name="Webhooks").locator("tbody tr").first
        await row.get_by_text("Body and answer").click()
        await expect(row.locator("pre").first).to_contain_text('"paid_amount":615000')
        await expect(row.locator("pre").last).to_contain_text('"status":"CONFIRMED"')

        console = desk.page
        await sign_in(console, laptop, "sokha")
        collected = console.locator(".five > div").first
        await expect(collected).to_contain_text("150.00\u00a0USD")
        await expect(collected).to_contain_text("615\u202f000\u00a0KHR")
        arrived = console.get_by_role("region", name="Payments").locator("tbody tr")
        await expect(arrived).to_have_count(2)
        await arrived.get_by_role("link", name=bill).click()
        await expect(console.locator(".sentence")).to_contain_text("was paid by bill payment")
        await console.keyboard.press("/")
        await console.keyboard.type("P100000002")
        await console.keyboard.press("Enter")
        await expect(console.locator(".sentence")).to_contain_text("was paid by KHQR")
        await expect(console).to_have_url(f"{laptop.address('Console')}#/payments/{code}")
        await expect(console.get_by_text("all agree")).to_be_visible()
        await expect(console.locator(".timeline")).to_contain_text("Bank answered")
        await expect(console.get_by_role("region", name="Events")).to_contain_text("Published")
        await console.get_by_role("button", name="ខ្មែរ").click()
        await expect(console.locator(".sentence")).to_contain_text("បានបង់តាម KHQR")


async def test_money_that_is_left_over_is_sent_back_by_two_people(
    browser: Browser, laptop: Running
) -> None:
    async with opened(browser=browser) as phone, opened(browser=browser) as desk:
        page = phone.page
        await page.goto(laptop.address("Sandbox page") + "#faults")
        await page.get_by_role("button", name="webhook-paid-twice: Once").click()
        await choose(page, "KHQR", "Kim Sreymom")
        bill = await paid_bill(page)

        first = desk.page
        await sign_in(first, laptop, "sokha", at="#/exceptions")
        mine = first.get_by_role("article").filter(has_text=bill)
        await expect(mine).to_contain_text("320.00\u00a0USD")
        await mine.get_by_label("Proposed action").select_option("REFUND")
        await mine.get_by_label("Reason").fill("Paid twice by mistake")
        await mine.get_by_role("button", name="Propose").click()
        await expect(mine).to_contain_text("somebody else must approve")

        await first.get_by_role("button", name="Sign out").click()
        await sign_in(first, laptop, "dara", at="#/exceptions")
        await expect(mine).to_contain_text("Proposed by sokha")
        await mine.get_by_label("Reason").fill("Seen in the bank's statement")
        await mine.get_by_role("button", name="Approve").click()
        await expect(mine).to_contain_text("Refund to send")


PAGES = ["#/today", "#/payments", "#/exceptions", "#/events", "#/system"]


async def test_every_page_tells_what_the_real_system_says(looked: Looked, laptop: Running) -> None:
    page = looked.page
    await sign_in(page, laptop, "dara")
    for at in PAGES:
        await page.goto(laptop.address("Console") + at)
        await expect(page.locator("#page h2").first).to_be_attached()
        await expect(page.get_by_role("alert").locator("visible=true")).to_have_count(0)
        shown = await page.locator("#page").inner_text()
        for slip in ("undefined", "NaN", "[object"):
            assert slip not in shown, at
    parts = page.get_by_role("region", name="Processes").locator("tbody tr")
    await expect(parts).to_have_count(2)
