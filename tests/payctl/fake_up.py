"""`payctl up` over fake parts: `fake_up.py CONDUCT_OF_FIRST CONDUCT_OF_SECOND`."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from chassis.settings import SettingError, Variables
from payctl.parts import Part, http_probe
from payctl.up import Surroundings, bring_up

_FAKE = str(Path(__file__).with_name("fake_part.py"))


def _part(name: str, conduct: str, *, gives: dict[str, str], tells: str | None) -> Part:
    return Part(
        name=name,
        arguments=(_FAKE, name, conduct),
        listen=f"{name.upper()}_LISTEN",
        default_listen="127.0.0.1:0",
        probe=http_probe(path="/"),
        gives=gives,
        tells=tells,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    environ = {"FIRST_LISTEN": "127.0.0.1:0", "SECOND_LISTEN": "127.0.0.1:0", **os.environ}
    parts = (
        _part("first", sys.argv[1], gives={"FIRST_URL": "http://{address}"}, tells=None),
        _part("second", sys.argv[2], gives={}, tells="second.url"),
    )
    around = Surroundings(
        environ=environ,
        variables=Variables(environ=environ),
        clock=lambda: datetime.now(tz=UTC),
        say=_say,
        start_limit_s=3 if "never-well" in sys.argv else 20,
        stop_limit_s=1 if "stubborn" in sys.argv else 10,
    )
    try:
        sys.exit(asyncio.run(bring_up(parts=parts, around=around)))
    except SettingError as problem:
        sys.stderr.write(f"payctl: {problem}\n")
        sys.exit(2)
