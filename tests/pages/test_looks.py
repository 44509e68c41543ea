"""How every page is to look at: by whom, how wide, how dark, in which language.

| who looks                         | what is promised                                          |
|-----------------------------------|-----------------------------------------------------------|
| somebody who does not see well    | no serious or critical fault that axe knows, light, dark  |
| somebody without a mouse          | everything in reach, the place in sight                   |
| somebody with a phone             | nothing to scroll sideways at 360 px                      |
| somebody who reads Khmer          | a font that has the letters, not boxes                    |
| the page's own policy             | nothing blocked; and what it must block, it does          |
"""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped] # no stubs
from playwright.async_api import Browser, Page, expect

from chassis.pages.folder import UnknownType, read_folder
from tests.pages.browsing import Looked, opened
from tests.pages.stages import PAGES, Stages, staged

pytestmark = pytest.mark.asyncio(loop_scope="session")

_LIST_FONTS = shutil.which("fc-list")
_NO_KHMER = "no font of this machine has Khmer (apt-get install fonts-noto-core)"
# Between them every part of the kit; what only darkness changes is colour, and the documents'
# page is light always.
DARK = [
    *("console: today", "console: one payment", "console: one that differs"),
    *("console: exceptions", "console: events", "console: system"),
    *("sandbox: story", "sandbox: faults"),
]
SERIOUS = {"serious", "critical"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stages(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stages]:
    async with staged(var=tmp_path_factory.mktemp("sandbox")) as found:
        yield found


@pytest.fixture(scope="module")
def khmer_font() -> None:
    """Skip where no font has Khmer."""
    if _LIST_FONTS is None:
        pytest.skip("fc-list is not installed: nobody knows which fonts there are")
    found = subprocess.run([_LIST_FONTS, ":lang=km"], capture_output=True, text=True, check=True)
    if not found.stdout:
        pytest.skip(_NO_KHMER)


async def faults_of(page: Page, *, rules: list[str] | None = None) -> list[str]:
    """Return the serious and critical faults that axe finds."""
    # Preloading would have axe write style sheets of its own into the page.
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if rules is not None:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = await Axe().run(page, options=options)
    return [
        f"{one['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for one in found.response["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing_serious(browser: Browser, stages: Stages, *, dark: bool) -> None:
    found: dict[str, list[str]] = {}
    async with opened(browser=browser, dark=dark) as looked:
        for name in DARK if dark else PAGES:
            await stages.show(looked.page, name)
            await looked.page.evaluate(
                "for (const one of document.querySelectorAll('details')) one.open = true"
            )
            await looked.page.wait_for_load_state("networkidle")
            faults = await faults_of(looked.page, rules=["color-contrast"] if dark else None)
            if faults:
                found[name] = faults
    assert not found


@pytest.mark.parametrize("language", ["en", "km"])
async def test_nothing_is_wider_than_a_phone(
    browser: Browser, stages: Stages, language: str
) -> None:
    wide: dict[str, int] = {}
    async with opened(browser=browser, width=360, height=740, language=language) as looked:
        for name in PAGES:
            if name == "docs" and language == "km":
                continue  # English alone
            await stages.show(looked.page, name)
            width = await looked.page.evaluate("document.documentElement.scrollWidth")
            if width > 360:
                wide[name] = width
    assert not wide


WALKS = ["console: today", "console: exceptions", "sandbox: story", "sandbox: faults"]


@pytest.mark.parametrize("name", WALKS)
async def test_the_tab_key_reaches_every_control_and_shows_where_it_is(
    looked: Looked, stages: Stages, name: str
) -> None:
    page = looked.page
    await stages.show(page, name)
    await page.reload()  # the walk begins at the top
    await page.wait_for_selector("h2")
    await page.wait_for_load_state("networkidle")
    wanted = await page.locator(
        "button:visible:not([disabled]):not([tabindex='-1']), a[href]:visible, input:visible,"
        " select:visible, summary:visible, [tabindex='0']:visible"
    ).count()
    reached = set()
    for _ in range(wanted + 5):
        await page.keyboard.press("Tab")
        place = await page.evaluate(
            """() => {
              const one = document.activeElement;
              if (one === document.body) return null;
              const key = one.dataset.key ?? one.id ?? one.outerHTML.slice(0, 80);
              const style = getComputedStyle(one);
              return { key: `${one.tagName} ${key}`, outline: style.outlineStyle,
                width: parseFloat(style.outlineWidth) };
            }"""
        )
        if place is None:
            break
        assert place["outline"] != "none", f"nobody sees the focus on {place['key']}"
        assert place["width"] >= 1, place["key"]
        reached.add(place["key"])
    assert len(reached) >= wanted - 1, "one of the arrows of a group may stand for the others"


async def test_a_bill_is_paid_with_the_keyboard_alone(looked: Looked, stages: Stages) -> None:
    page = looked.page
    await stages.show(page, "sandbox: accounts")
    await page.keyboard.press("/")
    await page.keyboard.type("P100000002")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Pay 615")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#screen")).to_contain_text("Confirmed")


GLYPHS = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 48;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const drawn = (letter) => {
    pen.clearRect(0, 0, 48, 48);
    pen.font = `32px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillText(letter, 4, 36);
    return pen.getImageData(0, 0, 48, 48).data.join();
  };
  return [..."កខគ", "\\u0378", "\\u0379"].map(drawn);
}"""


@pytest.mark.usefixtures("khmer_font")
@pytest.mark.parametrize("name", ["console: exceptions", "sandbox: faults"])
async def test_khmer_is_written_with_letters_not_boxes(
    browser: Browser, stages: Stages, name: str
) -> None:
    async with opened(browser=browser, language="km") as looked:
        page = looked.page
        await stages.show(page, name)
        assert await page.evaluate("document.documentElement.lang") == "km"
        drawn = await page.evaluate(GLYPHS)
        # The last two belong to no script: whoever lacks a letter draws it like them.
        *letters, missing, other = drawn
        assert missing == other
        assert len({*letters, missing}) == len(letters) + 1, "a letter looks like the missing one"
        fonts = await fonts_of(page, "h1")
        assert fonts, "nothing was drawn"
        assert any("khmer" in name.lower() for name in fonts), fonts
        shown = await page.locator("body").inner_text()
        assert "undefined" not in shown
        assert "[object" not in shown


async def fonts_of(page: Page, selector: str) -> set[str]:
    """Return the fonts that the browser took for an element's glyphs."""
    session = await page.context.new_cdp_session(page)
    await session.send("DOM.enable")
    await session.send("CSS.enable")
    root = await session.send("DOM.getDocument")
    node = await session.send(
        "DOM.querySelector", {"nodeId": root["root"]["nodeId"], "selector": selector}
    )
    found = await session.send("CSS.getPlatformFontsForNode", {"nodeId": node["nodeId"]})
    return {one["familyName"] for one in found["fonts"]}


@pytest.mark.parametrize("name", ["console: today", "sandbox: story"])
async def test_no_page_shows_a_word_that_nobody_wrote(
    browser: Browser, stages: Stages, name: str
) -> None:
    async with opened(browser=browser) as looked:
        await stages.show(looked.page, name)
        shown = await looked.page.locator("body").inner_text()
    for slip in ("undefined", "null", "NaN", "[object", "{"):
        assert slip not in shown


INLINE = """() => {
  const script = document.createElement("script");
  script.textContent = "window.taken = true";
  document.body.append(script);
  document.body.setAttribute("style", "color: red");
  const image = new Image();
  image.src = "http://127.0.0.1:9/x.png";
  document.body.append(image);
}"""


@pytest.mark.parametrize("name", ["console: sign in", "sandbox: story", "docs"])
async def test_the_policy_blocks_scripts_styles_and_other_hosts(
    browser: Browser, stages: Stages, name: str
) -> None:
    async with opened(browser=browser) as looked:
        looked.expected = ("script-src", "style-src", "img-src", "Content Security Policy")
        await stages.show(looked.page, name)
        await looked.page.evaluate(INLINE)
        await looked.page.wait_for_function("violations.length >= 3")
        assert await looked.page.evaluate("window.taken ?? null") is None
        said = await looked.page.evaluate("violations.map((one) => one.split(' ')[0]).sort()")
        assert {"img-src", "script-src-elem", "style-src-attr"} <= set(said)


@pytest.mark.parametrize("name", ["console", "sandbox"])
async def test_files_are_kept_by_browsers_and_asked_for_anew(stages: Stages, name: str) -> None:
    path = "kit/kit.css"
    base = stages.docs.removesuffix("docs") if name == "console" else f"{stages.sandbox}/"
    async with aiohttp.ClientSession() as http:
        async with http.get(base + path) as first:
            tag = first.headers["ETag"]
            assert first.status == 200
            assert first.headers["Cache-Control"] == "no-cache"
            assert first.headers["X-Content-Type-Options"] == "nosniff"
            assert "unsafe" not in first.headers["Content-Security-Policy"]
        async with http.get(base + path, headers={"If-None-Match": tag}) as second:
            assert (second.status, await second.read()) == (304, b"")
        async with http.get(base + path, headers={"If-None-Match": '"other"'}) as third:
            assert third.status == 200


async def test_a_file_of_an_unknown_kind_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "page.php").write_text("")
    with pytest.raises(UnknownType, match=r"page\.php"):
        read_folder(folder=tmp_path, at="/")
