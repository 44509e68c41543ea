"""`make sbom`: every locked package, with its version and its hashes."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.audit.__main__ import locked_in
from tests.support.metrics import ROOT


def test_the_bill_of_materials_lists_what_is_locked(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nsbom:")[2]
    assert "cyclonedx-py requirements --pyproject pyproject.toml" in recipe
    out = tmp_path / "sbom.json"
    subprocess.run(
        [
            str(Path(sys.executable).parent / "cyclonedx-py"), "requirements",
            "--pyproject", "pyproject.toml", "--output-reproducible", "--short-PURLs",
            "--of", "JSON", "-o", str(out), "requirements.txt",
        ],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "payment-gateway"
    listed = {one["name"]: one["version"] for one in document["components"]}
    locked = locked_in(text=(ROOT / "requirements.txt").read_text(encoding="utf-8"))
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in listed}
    assert set(locked) <= names
    assert len(names) <= len(locked) + 5  # those of other systems
    assert all(one.get("externalReferences") or one.get("hashes") for one in document["components"])
