"""The conversation of docs/integration.md is run, block after block, on a fresh system.

Every ```sh block of the chapter runs in one shell, in order; what it prints is the ```text block
after it, to the letter. The test gives the shell the three variables that a reader's has not.
"""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.khqr_system import KhqrSystem

TEXT = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")
_CHAPTER = re.compile(r"^## A conversation\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WITHIN_S = 30

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the conversation calls curl, which is not installed"
)


def conversation() -> list[tuple[str, str]]:
    """Return each block of commands with what it prints, nothing where nothing is told."""
    found = _CHAPTER.search(TEXT)
    assert found is not None
    said: list[tuple[str, str]] = []
    for language, block in _BLOCK.findall(found[1]):
        if language == "sh":
            said.append((block, ""))
        else:
            assert language == "text"
            assert not said[-1][1], "an answer belongs to one block of commands"
            said[-1] = (said[-1][0], block)
    return said


async def test_every_block_prints_what_the_document_says(system: KhqrSystem) -> None:
    blocks = conversation()
    printed = await shell(system, [commands for commands, _ in blocks])
    assert len(blocks) > 1
    for (commands, told), seen in zip(blocks, printed, strict=True):
        assert seen == told, commands


async def shell(system: KhqrSystem, blocks: list[str]) -> list[str]:
    """Return what each block prints, all of them in one shell."""
    mark = "--- the next block ---"
    process = await asyncio.create_subprocess_exec(
        "/bin/bash",
        "-u",
        env={
            "PATH": os.environ["PATH"],
            "GATEWAY": system.base_url,
            "SANDBOX": system.sandbox_url,
            "TOKEN": system.token,
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    script = f"echo '{mark}'\n".join(blocks)
    async with asyncio.timeout(_WITHIN_S):
        seen, complaints = await process.communicate(script.encode())
    assert not complaints, complaints.decode()
    return seen.decode().split(f"{mark}\n")
