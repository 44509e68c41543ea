"""Hold what is locked against known vulnerabilities: `python -m tests.audit requirements.txt`.

pip-audit ends with 0 though it audited nothing, where its service does not know the packages or
is not reached. So what it says that it audited is held against what is locked.

| exit | means                                                                   |
|------|-------------------------------------------------------------------------|
| 0    | every locked package was audited, none is known to be vulnerable        |
| 1    | at least one is; or some were audited and others were not               |
| 3    | not audited: the service was not reached, or knows none of the packages |
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

_LOCKED = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;]+)(?:[ ]*;[ ]*(.*?))?[ ]*\\?$",
    re.MULTILINE,
)
_TIMEOUT_S = 600
WELL, VULNERABLE, NOT_AUDITED = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said, and the exit code."""

    code: int
    lines: tuple[str, ...]


def locked_in(*, text: str) -> Mapping[str, str]:
    """Return the versions that a lock file pins for this machine, by name."""
    return {
        _normal(name): version
        for name, version, marker in _LOCKED.findall(text)
        if not marker or Marker(marker).evaluate()
    }


def judge(*, locked: Mapping[str, str], report: str) -> Verdict:
    """Return what pip-audit's JSON `report` comes to, held against what is `locked`."""
    try:
        found = json.loads(report)["dependencies"]
        audited = {_normal(one["name"]): one["version"] for one in found if "vulns" in one}
        bad = [
            f"{one['name']} {one['version']}: {', '.join(each['id'] for each in one['vulns'])}"
            for one in found
            if one.get("vulns")
        ]
    except (ValueError, KeyError, TypeError):
        return Verdict(code=NOT_AUDITED, lines=("not audited: no answer that can be read",))
    missing = sorted(name for name, version in locked.items() if audited.get(name) != version)
    if bad:
        return Verdict(code=VULNERABLE, lines=tuple(bad))
    if not locked or len(missing) == len(locked):
        return Verdict(code=NOT_AUDITED, lines=(f"not audited: 0 of {len(locked)} packages",))
    if missing:
        return Verdict(
            code=VULNERABLE,
            lines=(
                f"audited {len(locked) - len(missing)} of {len(locked)} packages, without:",
                *missing,
            ),
        )
    return Verdict(code=WELL, lines=(f"audited {len(locked)} packages: nothing is known",))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> int:
    """Audit a lock file; return the exit code."""
    path = Path(arguments[0])
    command = (
        *(str(Path(sys.executable).parent / "pip-audit"), "--disable-pip", "--require-hashes"),
        *("--progress-spinner", "off", "-f", "json", "-r", str(path)),
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
        report = done.stdout
    except (OSError, subprocess.TimeoutExpired):
        report = ""
    verdict = judge(locked=locked_in(text=path.read_text(encoding="utf-8")), report=report)
    for line in verdict.lines:
        sys.stdout.write(f"{line}\n")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
