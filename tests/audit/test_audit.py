"""An audit that audited nothing is not a good one.

| pip-audit says                          | we say                   | exit |
|-----------------------------------------|--------------------------|------|
| every locked package, no vulnerability  | nothing is known         | 0    |
| one has a vulnerability                 | its name and number      | 1    |
| some were skipped, or another version   | which are missing        | 1    |
| all were skipped; nothing; no JSON      | not audited              | 3    |
"""

import json

import pytest

from tests.audit.__main__ import NOT_AUDITED, VULNERABLE, WELL, judge, locked_in
from tests.support.metrics import ROOT

LOCK = "alpha==1.0 \\\n    --hash=sha256:00\n    # via beta\nBeta_Two[extra]==2.0 \\\n"
WITH_MARKERS = LOCK + "gamma==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\ndelta==4.0\n"


def _report(*dependencies: dict[str, object]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def _good(name: str, version: str) -> dict[str, object]:
    return {"name": name, "version": version, "vulns": []}


def _skipped(name: str) -> dict[str, object]:
    return {"name": name, "skip_reason": "Dependency not found"}


BAD: dict[str, object] = {"name": "alpha", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
CASES = [
    (_report(_good("alpha", "1.0"), _good("beta-two", "2.0")), WELL, "audited 2 packages"),
    (_report(BAD, _good("beta-two", "2.0")), VULNERABLE, "alpha 1.0: PYSEC-1"),
    (_report(BAD, _skipped("beta-two")), VULNERABLE, "PYSEC-1"),
    (_report(_good("alpha", "1.0"), _skipped("beta-two")), VULNERABLE, "audited 1 of 2"),
    (_report(_good("alpha", "1.0"), _good("beta-two", "2.1")), VULNERABLE, "audited 1 of 2"),
    (_report(_skipped("alpha"), _skipped("beta-two")), NOT_AUDITED, "not audited: 0 of 2"),
    (_report(), NOT_AUDITED, "not audited"),
    ("", NOT_AUDITED, "not audited"),
    ('{"dependencies": null}', NOT_AUDITED, "not audited"),
]


@pytest.mark.parametrize(("report", "code", "words"), CASES)
def test_what_was_audited_is_held_against_what_is_locked(
    report: str, code: int, words: str
) -> None:
    verdict = judge(locked=locked_in(text=LOCK), report=report)
    assert verdict.code == code
    assert words in verdict.lines[0]


def test_a_lock_file_is_read_whole() -> None:
    assert locked_in(text=WITH_MARKERS) == {"alpha": "1.0", "beta-two": "2.0", "delta": "4.0"}
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert len(locked_in(text=text)) >= 60
    assert {"aiohttp", "grpcio", "sqlalchemy"} <= locked_in(text=text).keys()
