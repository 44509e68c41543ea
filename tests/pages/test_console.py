"""What an operator sees and does, before a gateway that answers the contract's messages."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from payments.gateway.v1 import operations_service_pb2 as ops
from tests.pages.browsing import Looked, opened
from tests.pages.fake_operations import Console, served_console, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

DARA, SOKHA = token(subject="dara"), token(subject="sokha")
READER = token(subject="reader", scopes="operations:read")


@pytest_asyncio.fixture(loop_scope="session")
async def console() -> AsyncIterator[Console]:
    async with served_console() as found:
        yield found


async def sign_in(page: Page, console: Console, given: str = DARA, at: str = "") -> None:
    """Open the console as the bearer of a token."""
    await page.goto(f"{console.url}{at}")
    await page.get_by_label("Operator's token").fill(given)
    await page.get_by_role("button", name="Sign in").click()


async def test_the_token_is_typed_once_and_kept_for_the_tab(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console)
    await expect(page.get_by_text("Collected today")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("Collected today")).to_be_visible()
    kept = await page.evaluate("[sessionStorage.token, localStorage.token]")
    assert kept == [DARA, None]
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Operator's token")).to_be_visible()
    assert await page.evaluate("sessionStorage.token") is None


async def test_a_refused_token_is_asked_for_again(console: Console, browser: Browser) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("401",)
        await sign_in(looked.page, console, "not-a-token")
        await expect(looked.page.get_by_role("alert").first).to_contain_text("refused")
        await expect(looked.page.get_by_label("Operator's token")).to_be_visible()


TODAY = [
    ("Collected today", "48\u202f215.75\u00a0USD"),
    ("Collected today", "96\u202f430\u202f000\u00a0KHR"),
    ("Payments today", "429"),
    ("Success rate", "99.0 %"),
    ("Waiting for verification", "2"),
    ("Open exceptions", "3"),
]


async def test_today_tells_health_five_numbers_and_two_charts(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console)
    for name, figure in TODAY:
        tile = page.locator(".five > div", has_text=name)
        await expect(tile.get_by_text(figure, exact=True)).to_be_visible()
    parts = page.get_by_role("list", name="Parts")
    await expect(parts.locator("li", has_text="qr-generator")).to_contain_text("Strained")
    arrivals = page.get_by_role("img", name="In the last 24 hours")
    await expect(arrivals.first).to_be_visible()
    await page.get_by_role("button", name="AMK qr-generator").click()
    await expect(page.get_by_role("img", name="AMK qr-generator: in the last")).to_be_visible()
    await expect(page.get_by_role("region", name="Payments").locator("tbody tr")).to_have_count(15)


async def test_the_query_in_the_address_is_the_query_that_is_asked(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console, at="#/payments?channel=KHQR&state=UNAPPLIED&day=2026-11-26")
    await expect(page.get_by_label("Channel")).to_have_value("KHQR")
    asked = [one for one in console.fake.requests if isinstance(one, ops.ListPaymentsRequest)][-1]
    assert (asked.filter.channel, asked.filter.state) == ("KHQR", "UNAPPLIED")
    assert asked.filter.since.ToJsonString() == "2026-11-25T17:00:00Z", "midnight in Phnom Penh"
    assert asked.filter.until.ToJsonString() == "2026-11-26T17:00:00Z"
    await page.get_by_label("Channel").select_option("BILL")
    await expect(page).to_have_url(
        f"{console.url}#/payments?channel=BILL&state=UNAPPLIED&day=2026-11-26&list=payments"
    )
    await expect(page.get_by_text("Nothing fits these filters.")).to_be_visible()


async def test_older_payments_come_page_by_page(console: Console, looked: Looked) -> None:
    page = looked.page
    await sign_in(page, console, at="#/payments")
    rows = page.get_by_role("region", name="Payments").locator("tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Older ones").click()
    await expect(rows).to_have_count(60)
    await expect(page.get_by_role("button", name="Older ones")).to_have_count(0)


async def test_one_search_box_takes_anything(console: Console, looked: Looked) -> None:
    page = looked.page
    await sign_in(page, console)
    await expect(page.get_by_text("Collected today")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("P100000003")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Found for").locator("tbody tr")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type("AMK2026112600399")
    await page.keyboard.press("Enter")
    await expect(page.locator(".sentence")).to_contain_text("Bill 150002")
    await expect(page).to_have_url(f"{console.url}#/payments/150002")
    await page.keyboard.press("/")
    await page.keyboard.type("nothing-like-it")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing has this number.")).to_be_visible()


async def test_one_payment_is_a_sentence_a_timeline_and_its_evidence(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console, at="#/payments/150002")
    await expect(page.locator(".sentence")).to_contain_text("was paid by KHQR")
    steps = page.locator(".timeline li .what")
    await expect(steps).to_have_count(10)
    await expect(page.locator(".timeline li", has_text="Bank answered")).to_contain_text("+ 67 ms")
    await expect(page.get_by_text("all agree")).to_be_visible()
    await expect(page.locator(".unlike")).to_have_count(0)
    await page.get_by_text("khqr-2", exact=True).click()
    raw = page.locator("details[open] pre")
    await expect(raw).to_contain_text('"amount": "89.50"')
    await expect(raw).not_to_contain_text("ចាន់")


async def test_cells_that_differ_are_marked_and_no_others(console: Console, looked: Looked) -> None:
    page = looked.page
    await sign_in(page, console, at="#/payments/150003")
    await expect(page.get_by_text("something differs")).to_be_visible()
    unlike = page.locator(".unlike")
    await expect(unlike).to_have_count(1)
    await expect(unlike).to_have_text("≠differs: 600\u202f000\u00a0KHR")


async def test_a_bill_that_never_was_is_told_and_one_that_is_not_there_too(
    console: Console, browser: Browser
) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("404",)
        page = looked.page
        await sign_in(page, console, at="#/payments/160000")
        await expect(page.locator(".sentence")).to_contain_text("There is no bill 160000")
        await page.goto(f"{console.url}#/payments/99")
        await expect(page.get_by_role("alert").first).to_contain_text("No such bill")


async def test_one_person_proposes_and_another_one_approves(
    console: Console, browser: Browser
) -> None:
    async with opened(browser=browser) as first, opened(browser=browser) as second:
        page = first.page
        await sign_in(page, console, at="#/exceptions")
        mine = page.get_by_role("article", name="payment-494")
        await mine.get_by_role("button", name="Propose").click()
        await expect(page.locator("#toast")).to_contain_text("A reason is needed")
        await mine.get_by_label("Reason").fill("Meant for the newer bill")
        await mine.get_by_role("button", name="Propose").click()
        await expect(mine).to_contain_text("somebody else must approve")
        await expect(mine.get_by_role("button", name="Approve")).to_have_count(0)

        other = second.page
        await sign_in(other, console, SOKHA, at="#/exceptions")
        theirs = other.get_by_role("article", name="payment-494")
        await expect(theirs).to_contain_text("Proposed by dara")
        await theirs.get_by_label("Reason").fill("Agreed")
        await theirs.get_by_role("button", name="Approve").click()
        await expect(theirs).to_have_count(0)
        await expect(other.get_by_role("article")).to_have_count(2)
    asked = [one for one in console.fake.requests if isinstance(one, ops.ProposeResolutionRequest)]
    assert [(one.action, one.bill_id) for one in asked] == [(ops.RESOLUTION_ACTION_APPLY, 150010)]


async def test_what_is_typed_outlives_a_refresh(console: Console, looked: Looked) -> None:
    page = looked.page
    await sign_in(page, console, at="#/exceptions")
    reason = page.get_by_role("article", name="notice-9").get_by_label("Reason")
    await reason.fill("Half a sent")
    await page.get_by_role("button", name="ខ្មែរ").click()  # everything is drawn anew
    await expect(page.locator('[data-key="why notice-9"]')).to_have_value("Half a sent")


async def test_whoever_may_only_look_is_offered_nothing_to_do(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console, READER, at="#/exceptions")
    await expect(page.get_by_text("Your token may look, not act.").first).to_be_visible()
    for name in ("Propose", "Approve", "Reject"):
        await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    await page.goto(f"{console.url}#/events")
    await expect(page.get_by_role("region", name="Parked")).to_be_visible()
    for name in ("Release", "List what would be sent"):
        await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


async def test_a_replay_is_listed_first_and_needs_a_reason(
    console: Console, looked: Looked
) -> None:
    page = looked.page
    await sign_in(page, console, at="#/events")
    await page.get_by_role("button", name="List what would be sent").click()
    await expect(page.locator("#toast")).to_contain_text("Say which")
    await page.get_by_label("Written from").fill("2026-11-26T08:00:00")
    await page.get_by_role("button", name="List what would be sent").click()
    would = page.get_by_role("group", name="Send again")
    await expect(would).to_contain_text("3 events would be sent.")
    await expect(would.locator("tbody tr")).to_have_count(3)
    await would.get_by_role("button", name="Send again").click()
    await expect(page.locator("#toast")).to_contain_text("A reason is needed")
    await would.get_by_label("Reason").fill("The ledger missed it")
    await would.get_by_role("button", name="Send again").click()
    await expect(page.locator("#toast")).to_contain_text("3 events are sent again")
    asked = [one for one in console.fake.requests if isinstance(one, ops.ReplayEventsRequest)]
    assert [(one.dry_run, one.reason) for one in asked] == [
        (True, ""),
        (False, "The ledger missed it"),
    ]
    assert asked[1].selection.since.ToJsonString() == "2026-11-26T01:00:00Z", "08:00 at +07:00"


async def test_parked_events_are_released_after_a_look(console: Console, looked: Looked) -> None:
    page = looked.page
    await sign_in(page, console, at="#/events")
    parked = page.get_by_role("region", name="Parked")
    await expect(parked).to_contain_text("MessageSizeTooLarge: 1048601 bytes")
    await parked.get_by_role("button", name="Release").click()
    would = page.get_by_role("group", name="Release")
    await would.get_by_label("Reason").fill("The limit was raised")
    await would.get_by_role("button", name="Release").click()
    await expect(page.locator("#toast")).to_contain_text("Released: 3 events.")


async def test_the_system_is_told_also_while_the_khqr_service_is_away(
    console: Console, browser: Browser
) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("503",)
        page = looked.page
        await sign_in(page, console, at="#/system")
        await expect(
            page.get_by_role("region", name="Processes").locator("tbody tr")
        ).to_have_count(2)
        await expect(page.get_by_role("region", name="Breakers")).to_contain_text("Probing")
        await expect(page.get_by_role("img", name="6 of 20 in use")).to_be_visible()
        console.fake.broken.add("get_khqr_system")
        await page.reload()
        await expect(page.get_by_role("alert").first).to_contain_text("does not tell")
        await expect(page.get_by_text("Schema revision")).to_be_visible()


async def test_an_outage_keeps_what_was_seen_and_says_that_it_is_old(
    console: Console, browser: Browser
) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("503",)
        page = looked.page
        await sign_in(page, console, at="#/exceptions")
        await expect(page.get_by_role("article")).to_have_count(3)
        console.fake.broken.add("list_exceptions")
        await page.get_by_role("article", name="khqr-3").get_by_label("Reason").fill("Right")
        await page.get_by_role("button", name="Reject").click()  # then the page looks again
        await expect(page.get_by_role("alert").first).to_contain_text("Try again later")
        await expect(page.get_by_role("article")).to_have_count(3)
        await page.reload()
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        console.fake.broken.clear()
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_role("article").first).to_be_visible()


EMPTY = [
    ("", "No payment yet."),
    ("", "Nobody was called yet."),
    ("#/payments", "No payments yet."),
    ("#/payments?list=notices", "No notices yet."),
    ("#/payments?list=bills", "No bills yet."),
    ("#/payments?list=codes", "No codes yet."),
    ("#/exceptions", "Nothing needs a person."),
    ("#/events", "Nothing is parked."),
    ("#/events", "Nobody asked anything yet."),
]


async def test_an_empty_list_says_what_would_appear_there(looked: Looked) -> None:
    async with served_console(empty=True) as console:
        page = looked.page
        await sign_in(page, console)
        for at, words in EMPTY:
            await page.goto(f"{console.url}{at or '#/today'}")
            await expect(page.get_by_text(words)).to_be_visible()
