"""Does to a tree what `docs/second-bank.md` says, word for word.

A step is a line that names a file and what to do, then the code: "`path`, new:" writes the file,
"`path`, changed:" applies the hunks that follow, "`path`, added:" writes at the file's end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TABLE_ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_FENCE = r"```(?:python|toml|diff)\n.*?^```\n"
_STEP = re.compile(
    rf"^`(?P<path>[^`]+)`, (?P<what>new|changed|added):\n\n(?P<fences>(?:{_FENCE}\n*)+)",
    re.MULTILINE | re.DOTALL,
)
_FENCED = re.compile(r"```\w+\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


class GuideWrong(AssertionError):
    """The guide does not fit the tree; the text says which step."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done to one file."""

    path: str
    what: str
    texts: tuple[str, ...]

    def follow(self, *, tree: Path) -> None:
        """Do it to `tree`.

        :raises GuideWrong: what should be there is not, or the reverse.
        """
        file = tree / self.path
        if self.what == "new":
            if file.exists():
                raise GuideWrong(f"{self.path}: is there already")
            file.write_text("".join(self.texts))
            return
        if not file.exists():
            raise GuideWrong(f"{self.path}: is not there")
        text = file.read_text()
        if self.what == "added":
            file.write_text("\n".join((text, *self.texts)))
            return
        for hunk in self.texts:
            text = _patched(self.path, text, hunk)
        file.write_text(text)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One kind of bank: the files that its table names, and the steps."""

    files: frozenset[str]
    steps: tuple[Step, ...]

    def follow(self, *, tree: Path) -> None:
        """Do all steps to `tree`, in their order."""
        for step in self.steps:
            step.follow(tree=tree)


def read_section(*, document: str, title: str) -> Section:
    """Return the section of `document` below the heading `title`.

    :raises GuideWrong: there is none, or it has code that belongs to no step.
    """
    parts = re.split(r"^## ", document, flags=re.MULTILINE)
    found = [part for part in parts if part.startswith(f"{title}\n")]
    if len(found) != 1:
        raise GuideWrong(f"{title}: is not one section")
    steps = tuple(_steps(found[0]))
    fences = len(_FENCED.findall(found[0]))
    if sum(len(step.texts) for step in steps) != fences:
        raise GuideWrong(f"{title}: has code that belongs to no step")
    return Section(files=frozenset(_TABLE_ROW.findall(found[0])), steps=steps)


def _steps(text: str) -> Iterator[Step]:
    for match in _STEP.finditer(text):
        yield Step(
            path=match["path"],
            what=match["what"],
            texts=tuple(_FENCED.findall(match["fences"])),
        )


def _patched(path: str, text: str, hunk: str) -> str:
    """Return `text` with a hunk applied whose old lines stand there exactly once."""
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    if text.count(before) != 1:
        raise GuideWrong(f"{path}: these lines are there {text.count(before)} times:\n{before}")
    return text.replace(before, after)
