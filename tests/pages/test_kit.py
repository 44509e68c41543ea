"""The kit's modules in a real browser: each row is an expression and what it must come to.

The expression may name whatever the module exports; what it comes to is compared as JSON.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.pages.browsing import opened
from tests.pages.serving import kit_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

N = "\u202f"  # the narrow space between groups of digits
EXACT = [
    ("a price keeps its decimals", "readExact('{\"a\":150.00}').a", "150.00"),
    ("64 bits keep their last digit", "readExact('[9223372036854775807]')[0]", str(2**63 - 1)),
    ("text that looks like a number is left", 'readExact(\'{"a":"1.50, 2"}\').a', "1.50, 2"),
    ("an escaped quote does not end a text", r"""readExact('{"a":"\\"5"}').a""", '"5'),
    ("a backslash before the quote does", r"""readExact('{"a":"\\\\","b":5}').b""", "5"),
    ("negative, fraction, exponent", "readExact('[-1.50,2e3]')", ["-1.50", "2e3"]),
    ("words stay words", "readExact('[true,false,null]')", [True, False, None]),
    ("an empty text stays one", 'readExact(\'{"a":"","b":1}\')', {"a": "", "b": "1"}),
]
AMOUNTS = [
    ("dollars", "money('150.00', 'USD')", "150.00\u00a0USD"),
    ("dollars without their decimals get them", "money('150', 'USD')", "150.00\u00a0USD"),
    ("riel have none", "money('615000.00', 'KHR')", f"615{N}000\u00a0KHR"),
    ("what says a value is never cut", "money('1.005', 'USD')", "1.005\u00a0USD"),
    ("nor of riel", "money('615000.50', 'KHR')", f"615{N}000.50\u00a0KHR"),
    (
        "sixteen digits",
        "digits('1234567890123456.78', 'USD')",
        f"1{N}234{N}567{N}890{N}123{N}456.78",
    ),
    ("less than nothing", "digits('-1234.5', 'USD')", f"-1{N}234.50"),
    ("no amount is a dash", "money(undefined, 'USD')", "–"),
    ("what is no number is shown as it came", "digits('1e5', 'USD')", "1e5"),
]
MOMENTS = [
    ("from Greenwich", "moment('2026-11-25T17:30:00Z')", "2026-11-26 00:30:00 +07:00"),
    ("from its own", "moment('2026-11-26T00:30:00+07:00')", "2026-11-26 00:30:00 +07:00"),
    ("over the year", "moment('2026-12-31T20:00:00Z')", "2027-01-01 03:00:00 +07:00"),
    ("no moment is a dash", "moment(undefined)", "–"),
    ("nor is nonsense one", "moment('yesterday')", "–"),
    ("a blink", "duration(412.4)", "412 ms"),
    ("some seconds", "duration(1234)", "1.23 s"),
    ("minutes", "duration(200000)", "3 min 20 s"),
    ("days", "duration(2 * 86400000 + 3 * 3600000 + 59000)", "2 d 3 h"),
    ("back in time", "duration(-5)", "−5 ms"),
    ("in Khmer", "duration(60000, {min: 'នាទី'})", "1 នាទី"),
    (
        "microseconds count",
        "Math.round(between('2026-01-01T00:00:00.000100Z', '2026-01-01T00:00:00.001300Z') * 1000)",
        1200,
    ),
    (
        "a day of Phnom Penh",
        "dayBounds('2026-11-26')",
        ["2026-11-25T17:00:00.000Z", "2026-11-26T17:00:00.000Z"],
    ),
    ("the day there", "today(Date.parse('2026-11-25T17:00:00Z'))", "2026-11-26"),
]
SCALES = [
    ("round steps", "ticks(97)", [0, 25, 50, 75, 100]),
    ("of small numbers", "ticks(0.3)", [0, 0.1, 0.2, 0.3]),
    ("exactly reached", "ticks(100)", [0, 25, 50, 75, 100]),
    ("just over", "ticks(101)", [0, 50, 100, 150]),
    ("nothing yet", "ticks(0)", [0, 1]),
    ("counts have no halves", "ticks(3, {whole: true})", [0, 1, 2, 3]),
    ("nor quarters", "ticks(10, {whole: true})", [0, 5, 10]),
    ("thousands", "ticks(1234)", [0, 500, 1000, 1500]),
    ("a value on its place", "linear(0, 10, 100, 0)(2.5)", 75),
    ("a scale of one value", "linear(3, 3, 0, 10)(3)", 0),
    (
        "a gap lifts the pen",
        "pathWithGaps([0, 10, null, 20, 30], (at) => at * 10, (v) => v)",
        {"path": "M0,0L10,10M30,20L40,30", "spots": []},
    ),
    (
        "a lonely value is a spot",
        "pathWithGaps([null, 5, null, 7], (at) => at, (v) => v)",
        {"path": "", "spots": [[1, 5], [3, 7]]},
    ),
    ("nought is a value", "pathWithGaps([0, 0], (at) => at, (v) => 9 - v).path", "M0,9L1,9"),
    ("nothing is no path", "pathWithGaps([], (at) => at, (v) => v)", {"path": "", "spots": []}),
    ("pieces lie on one another", "stack([[1, 2], [0, 3]])", [[[0, 1], [1, 3]], [[0, 0], [0, 3]]]),
    ("the highest stack", "highest([[1, 2], [0, 5]])", 5),
]
WORDS = [
    ("Khmer", "translator({en: {a: 'x {n}'}, km: {a: 'ក {n}'}}, 'km')('a', {n: 3})", "ក 3"),
    ("English where Khmer lacks it", "translator({en: {a: 'x'}, km: {}}, 'km')('a')", "x"),
    ("an unknown key shows itself", "translator({en: {}, km: {}}, 'km')('a.b')", "a.b"),
    ("a value that is missing stays visible", "translator({en: {a: '{n}'}}, 'en')('a')", "{n}"),
    ("the one chosen before", "chosenLanguage({kept: 'km', wanted: ['en']})", "km"),
    ("else the browser's", "chosenLanguage({kept: null, wanted: ['fr-FR', 'km-KH']})", "km"),
    ("else English", "chosenLanguage({kept: 'xx', wanted: ['fr']})", "en"),
]
ROWS = [
    (module, name, expression, wanted)
    for module, rows in (
        ("exact", EXACT),
        ("amount", AMOUNTS),
        ("moment", MOMENTS),
        ("scale", SCALES),
        ("i18n", WORDS),
    )
    for name, expression, wanted in rows
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with kit_server() as address, opened(browser=browser) as looked:
        await looked.page.goto(address)
        yield looked.page


@pytest.mark.parametrize(
    ("module", "expression", "wanted"),
    [(module, expression, wanted) for module, _, expression, wanted in ROWS],
    ids=[f"{module}: {name}" for module, name, _, _ in ROWS],
)
async def test_the_kit_says(page: Page, module: str, expression: str, wanted: Any) -> None:
    assert await evaluated(page, module, expression) == wanted


async def evaluated(page: Page, module: str, expression: str) -> Any:
    """Return what `expression` comes to with the exports of `module` in reach."""
    names = await page.evaluate(
        f"import('/kit/{module}.js').then((found) => Object.keys(found).join())"
    )
    text = await page.evaluate(
        f"import('/kit/{module}.js').then(({{{names}}}) => JSON.stringify({expression}))"
    )
    return json.loads(text)


LINES = """import('/kit/chart.js').then(({ lineChart }) => {
  place.replaceChildren(lineChart({ key: "k", unit: "ms", summary: "Latency, at most 90 ms",
    series: [{ name: "p50", values: [10, null, 40] },
      { name: "p95", values: [20, null, 90], dashed: true }],
    labels: ["00:00", "", "00:10"], times: ["00:00", "00:05", "00:10"],
    words: { time: "Time", figures: "Figures", nothing: "Nothing" } }));
})"""


async def test_a_line_chart_has_round_numbers_a_gap_and_its_figures(page: Page) -> None:
    await page.evaluate(LINES)
    svg = page.get_by_role("img", name="Latency, at most 90 ms")
    assert await svg.locator("text.label").all_text_contents() == [
        *("0", "25", "50", "75", "100 ms"),
        *("00:00", "00:10"),
    ]
    assert await svg.locator("path").count() == 0, "two lonely values each side of the gap"
    spots = await svg.locator("circle").evaluate_all(
        "(all) => all.map((one) => ['cx', 'cy'].map((name) => Number(one.getAttribute(name))))"
    )
    # 136 px between 100 ms at y 12 and 0 at y 148; the first and last stand at the edges.
    assert spots == [[44, 134.4], [632, 93.6], [44, 120.8], [632, 25.6]]
    await page.get_by_text("Figures").click()
    rows = await page.locator("tbody tr").all_text_contents()
    assert rows == ["00:001020", "00:104090"], "what was not measured has no row"


BARS = """import('/kit/chart.js').then(({ barChart }) => {
  place.replaceChildren(barChart({ key: "k", summary: "Payments",
    series: [{ name: "bill", values: [2, 0] }, { name: "KHQR", values: [2, 1] }],
    labels: ["a", "b"], times: ["a", "b"],
    words: { time: "Time", figures: "Figures", nothing: "-" } }));
})"""


async def test_bars_stand_on_one_another_and_none_is_drawn_for_nothing(page: Page) -> None:
    await page.evaluate(BARS)
    bars = await page.locator("[role=img] rect").evaluate_all(
        "(all) => all.map((one) => [one.getAttribute('class'), ...['x', 'y', 'width', 'height']"
        ".map((name) => Number(one.getAttribute(name)))])"
    )
    # Four payments are 136 px high: each is 34.
    assert bars == [
        ["bar s1", 44, 80, 293, 68],
        ["bar s2", 44, 12, 293, 68],
        ["bar s2", 338, 114, 293, 34],
    ]


HOSTILE = "<img src=x onerror=alert(1)>"


async def test_a_value_reaches_the_page_as_text(page: Page) -> None:
    await page.evaluate(
        """(text) => import('/kit/dom.js').then(({ element }) => place.replaceChildren(
             element("p", { title: text }, text, [text], 5, null)))""",
        HOSTILE,
    )
    assert await page.locator("#place p").text_content() == f"{HOSTILE}{HOSTILE}5"
    assert await page.locator("#place img").count() == 0


async def test_drawing_anew_keeps_focus_folds_and_scrolling(page: Page) -> None:
    await page.evaluate(
        """() => import('/kit/dom.js').then(({ element, fold, redraw }) => {
             window.draw = () => redraw(place, fold("More", "a", "text"),
               element("button", { "data-key": "b" }, "B"));
             draw();
             place.querySelector("details").open = true;
             place.querySelector("button").focus();
             draw();
           })"""
    )
    assert await page.locator("details[open]").count() == 1
    assert await page.evaluate("document.activeElement.dataset.key") == "b"
