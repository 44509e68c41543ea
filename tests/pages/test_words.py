"""Every word that a page says is there in both languages, with the same places for values.

| looked at                              | refused                                     |
|----------------------------------------|---------------------------------------------|
| the tables of English and Khmer        | a key in one alone; other `{places}`        |
| `t("...")` in the scripts              | a key that no table has                     |
| t(`...${...}`)                         | a beginning that no key has                 |
| the gateway's sentences, explanations  | one that the console cannot say in Khmer    |
"""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from chassis.pages.folder import KIT, read_folder
from gateway_svc.operations.exception import EXPLANATIONS
from gateway_svc.operations.standing import SENTENCES
from tests.pages.browsing import opened

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
PAGES = {"console": ROOT / "rest_bridge" / "console", "sandbox": ROOT / "amk_sandbox" / "static"}
LITERAL = re.compile(r'\bt\("([^"]+)"')
BEGINNING = re.compile(r"\bt\(`([^$`]+)\$\{")
CHOICE = re.compile(r'\bt\([^()]*\? "([^"]+)" : "([^"]+)"')
KHMER = re.compile(r"[\u1780-\u17ff]")
# The same in every language: names of protocols and units.
NOT_KHMER = {"phone.by.code", "channel.KHQR", "unit.ms", "do.code", "empty.accounts.how"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tables(browser: Browser) -> AsyncIterator[dict[str, dict[str, dict[str, str]]]]:
    """Yield the words of each page by language, as a browser reads them."""
    files = {
        **read_folder(folder=KIT, at="/kit/"),
        **read_folder(folder=PAGES["console"], at="/console/"),
        **read_folder(folder=PAGES["sandbox"], at="/sandbox/"),
    }

    async def answer(request: web.Request) -> web.Response:
        file = files.get(request.path)
        if file is None:
            return web.Response(text="<title>words</title>", content_type="text/html")
        return web.Response(body=file.body, content_type=file.content_type)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with opened(browser=browser) as looked:
            await looked.page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            found: dict[str, Any] = {}
            for page in PAGES:
                text = await looked.page.evaluate(
                    f"""Promise.all([import('/{page}/words.js'), import('/{page}/words_km.js'),
                    import('/kit/look.js')]).then(([{{en}}, {{km}}, {{LOOK_WORDS}}]) =>
                    JSON.stringify({{en: {{...LOOK_WORDS.en, ...en}},
                    km: {{...LOOK_WORDS.km, ...km}}}}))"""
                )
                found[page] = json.loads(text)
            yield found
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("page", PAGES)
async def test_both_languages_say_the_same(tables: Any, page: str) -> None:
    english, khmer = tables[page]["en"], tables[page]["km"]
    # What a server says in English is in the Khmer table alone.
    own = {key for key in khmer if not key.startswith(("sentence.", "explain.", "fault "))}
    assert own == set(english)
    for key, text in english.items():
        assert places(khmer[key]) == places(text), key
        assert KHMER.search(khmer[key]) or key in NOT_KHMER, f"{key} is not in Khmer"


@pytest.mark.parametrize("page", PAGES)
async def test_no_script_asks_for_a_word_that_is_not_there(tables: Any, page: str) -> None:
    known = set(tables[page]["km"])
    for path in sorted(PAGES[page].glob("*.js")):
        text = path.read_text(encoding="utf-8")
        chosen = [word for pair in CHOICE.findall(text) for word in pair]
        for key in [*LITERAL.findall(text), *chosen]:
            assert key in known, f"{path.name}: {key}"
        for beginning in BEGINNING.findall(text):
            assert any(key.startswith(beginning) for key in known), f"{path.name}: {beginning}"


async def test_what_the_gateway_says_is_said_in_khmer_too(tables: Any) -> None:
    khmer = tables["console"]["km"]
    sentences = {key for key in khmer if key.startswith("sentence.")}
    assert sentences == {f"sentence.{key}" for key in SENTENCES}
    for key, text in SENTENCES.items():
        said = places(khmer[f"sentence.{key}"])
        # The console writes an amount with its currency.
        assert said == places(text) - {"currency"}, key
    explained = {f"explain.{kind.value}.{hold}" for kind, hold in EXPLANATIONS}
    known = {key for key in khmer if re.match(r"explain\.\w+\.", key)}
    assert known == explained
    for _, hold in EXPLANATIONS:
        assert f"hold.{hold}" in khmer


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))
