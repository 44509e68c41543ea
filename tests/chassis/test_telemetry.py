"""Everything that a process says on standard error, seen from outside it.

| said by                                        | seen                                     |
|------------------------------------------------|------------------------------------------|
| our own line, whatever its values hold         | one line of ASCII JSON, masked           |
| a library's line, with or without arguments    | its constant text, numbers, error types  |
| a warning, an unretrieved task, a thread, main | one line of JSON, no text of the error   |
| a refused start                                | one line, masked                         |
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from chassis.telemetry import request_id_or

CANARY = "Sok-ដារ៉ា-canary"
SETUP = f"""
import asyncio, logging, sys, threading, warnings
import structlog
from chassis.telemetry import complain, configure_logging, request_id_of_call
configure_logging(service="test", level="DEBUG")
log = structlog.get_logger()
library = logging.getLogger("library")
canary = {CANARY!r}
"""


def said(program: str) -> list[dict[str, Any]]:
    """Return the lines that `program` says, each of them JSON in ASCII."""
    result = subprocess.run(
        [sys.executable, "-c", SETUP + program],
        capture_output=True,
        check=False,
        timeout=30,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.stdout == b""
    text = result.stderr.decode("ascii")
    assert not text or text.endswith("\n")
    assert CANARY not in text
    assert json.dumps(CANARY)[1:-1] not in text
    # split() at newlines alone would miss what a viewer takes for a new line
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "value",
    [
        "two\nlines\r\n\x0b\x0c",
        '","level":"forged',
        "\x1b[31mred\x1b]0;title\x07",
        "\x9b31m \x85 \u2028 \u2029 \u202e \x7f \x00",
        "\ud800 lone",
    ],
)
def test_a_value_cannot_forge_a_line_or_speak_to_a_terminal(value: str) -> None:
    [line] = said(f"log.info('seen', value={value!r}, **{{{value!r}: 1}})")
    assert line["event"] == "seen"
    assert line["level"] == "info"
    assert line["value"] == value
    assert line["service"] == "test"


def test_numbers_that_json_does_not_have_are_texts() -> None:
    [line] = said("log.info('seen', bad=float('nan'), big=float('inf'), fine=1.5)")
    assert (line["bad"], line["big"], line["fine"]) == ("nan", "inf", 1.5)


def test_the_request_id_is_on_every_line_of_its_call() -> None:
    lines = said("request_id_of_call.set('abc')\nlog.info('ours')\nlibrary.info('theirs')")
    assert [line["request_id"] for line in lines] == ["abc", "abc"]


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("library.debug('sent %r with %s', canary, {'p': canary})", "sent *** with ***"),
        ("library.info('%d of %.1f', 5, 1.5)", "5 of 1.5"),
        ("library.info('to %(node)s', {'node': canary})", "to ***"),
        ("library.error('failed: %s', ValueError(canary))", "failed: ValueError"),
        ("library.error('bad %d', canary)", "bad %d"),
        ("library.error('too few %s %s', canary)", "too few %s %s"),
        ("library.error(f'cannot parse: {canary}')", "cannot parse"),
        ("library.error(f'<{canary}>')", "line 9 of <string>"),
        ("library.error(ValueError(canary))", "ValueError"),
        ("library.error('not retrieved\\nfuture: ' + canary)", "not retrieved"),
    ],
)
def test_a_librarys_line_is_its_constant_text(call: str, event: str) -> None:
    [line] = said(call)
    assert (line["event"], line["logger"]) == (event, "library")


@pytest.mark.parametrize(
    ("program", "event", "error"),
    [
        ("raise KeyError(canary)", "uncaught", "KeyError"),
        (
            "def broken():\n raise KeyError(canary)\n"
            "t = threading.Thread(target=broken, name=canary)\nt.start()\nt.join()",
            "uncaught_in_thread",
            "KeyError",
        ),
        (
            "class Broken:\n def __del__(self):\n  raise KeyError(canary)\nBroken()",
            "unraisable",
            "KeyError",
        ),
        (
            "try:\n raise KeyError(canary)\nexcept KeyError:\n log.exception('failed')",
            "failed",
            "KeyError",
        ),
        (
            "async def broken():\n raise KeyError(canary)\n"
            "async def main():\n t = asyncio.create_task(broken(), name=canary)\n"
            " await asyncio.sleep(0.01)\n del t\n"
            "asyncio.run(main())",
            "Task exception was never retrieved",
            "KeyError",
        ),
        (
            "def broken(_value):\n raise KeyError(canary)\n"
            "async def main():\n asyncio.get_running_loop().call_soon(broken, canary)\n"
            " await asyncio.sleep(0.01)\n"
            "asyncio.run(main())",
            "Exception in callback broken",
            "KeyError",
        ),
    ],
)
def test_what_nobody_caught_is_told_without_its_text(program: str, event: str, error: str) -> None:
    lines = [line for line in said(program) if "exception" in line]
    assert [line["event"] for line in lines] == [event]
    assert lines[0]["exception"].startswith(error)


def test_a_log_that_cannot_be_written_breaks_nobodys_work() -> None:
    assert (
        said(
            "from chassis.telemetry import LibraryHandler\n"
            "broken = open('/dev/full', 'w')\n"
            "logging.root.handlers = [LibraryHandler(service='x', stream=broken)]\n"
            "library.error('told to %s', canary)\n"
            "try:\n broken.close()\nexcept OSError:\n pass"
        )
        == []
    )


def test_a_warning_is_told_by_its_place() -> None:
    [line] = said("warnings.warn(canary)")
    assert (line["event"], line["category"]) == ("python_warning", "UserWarning")


def test_a_refused_start_is_one_line_without_secrets() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            SETUP
            + "from chassis.settings import Variables\n"
            + "Variables(environ={'DB_PASSWORD': canary}).text('DB_PASSWORD')\n"
            + "complain(service='x', problem=ValueError(f'X: two\\nlines, {canary}, \\x1b[1m'))",
        ],
        capture_output=True,
        check=True,
        timeout=30,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.stderr == b"x: X: two\\nlines, ***, \\x1b[1m\n"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a" * 128, True),
        ("0f-9.A_z", True),
        ("a" * 129, False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("a\n", False),
        ("a\x1b", False),
        ("ក", False),
    ],
)
def test_a_hostile_request_id_is_replaced(given: str, kept: bool) -> None:
    assert request_id_or(given=given, make=lambda: "made") == (given if kept else "made")
