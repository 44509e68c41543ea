"""Links between the documents lead to files, and to chapters, that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_ANCHOR_LOSES = re.compile(r"[^\w\- ]")


def anchors(document: Path) -> set[str]:
    """Return the chapters of a document as GitHub spells them in an address."""
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    return {_ANCHOR_LOSES.sub("", one.lower()).replace(" ", "-") for one in _HEADING.findall(text)}


def broken(document: Path) -> list[str]:
    found = []
    for link in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
        if ":" in link:
            continue  # another site is not asked
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_the_readme_leads_to_every_document() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    others = {str(one.relative_to(ROOT)) for one in DOCUMENTS} - {"README.md"}
    assert others <= {link.partition("#")[0] for link in _LINK.findall(readme)}


def test_what_leads_nowhere_is_seen(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# One, two\n[1](#one-two) [2](#three) [3](b.md) [4](a.md#one-two)\n")
    assert broken(document) == ["#three", "b.md"]
