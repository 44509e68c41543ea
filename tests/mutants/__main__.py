"""Plants each fault of the table in a copy of the tree and shows which test sees it.

    python -m tests.mutants            # by the named tests
    python -m tests.mutants --drill    # by a drill that kills at the mutant's points
    python -m tests.mutants lock       # only those whose name holds a word

Ends with 1 if a mutant survives, or if its tests are red without it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

_ROOT = Path(__file__).parents[2]
_TEST_LIMIT_S = 300
_DRILL = ("--kills", "12", "--kafka-kills", "0", "--seconds", "60", "--pause", "1.5")
_NO_DRILL = 3  # what the drill says where it cannot run


def main() -> int:
    """Try the mutants; the exit code is 0 only if every one was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants with this in the name")
    parser.add_argument("--drill", action="store_true", help="catch by a drill, not by tests")
    arguments = parser.parse_args()
    chosen = [one for one in MUTANTS if arguments.word in one.name]
    if arguments.drill:
        chosen = [one for one in chosen if one.points]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutants-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where we are root
        sound = _copied(Path(folder) / "sound")
        for number, mutant in enumerate(chosen):
            tree = _copied(Path(folder) / str(number))
            _plant(tree, mutant)
            if arguments.drill:
                verdict, caught = _by_drill(tree, mutant)
            else:
                verdict, caught = _by_tests(sound, tree, mutant)
            survivors += not caught
            print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}: {verdict}", flush=True)
            shutil.rmtree(tree)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants caught")
    return 1 if survivors else 0


def _by_tests(sound: Path, tree: Path, mutant: Mutant) -> tuple[str, bool]:
    before = _run(sound, "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests)
    if before.returncode != 0:
        return f"its tests are red without it: {_last(before.stdout)}", False
    after = _run(tree, "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests)
    seen = re.findall(r"^FAILED (.+?)(?: - .*)?$", after.stdout, re.MULTILINE)
    if after.returncode == 0 or not seen:
        return f"nothing saw it: {_last(after.stdout)}", False
    return f"by {seen[0]}", True


def _by_drill(tree: Path, mutant: Mutant) -> tuple[str, bool]:
    points = ("--points", ",".join(mutant.points))
    done = _run(tree, "tests.drill", *_DRILL, *points)
    if done.returncode == _NO_DRILL:
        return _last(done.stdout), False
    seen = re.findall(r"^VIOLATION (.*)", done.stdout, re.MULTILINE)
    return (f"by {len(seen)} violations, such as {seen[0]}", True) if seen else ("none", False)


def _run(tree: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'generated'}"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=tree,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TEST_LIMIT_S,
        check=False,
    )


def _copied(target: Path) -> Path:
    """Copy what belongs to the project: neither var/ nor the virtual environment."""
    shutil.copytree(
        _ROOT,
        target,
        ignore=shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache"),
    )
    return target


def _plant(tree: Path, mutant: Mutant) -> None:
    for edit in mutant.edits:
        path = tree / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            sys.exit(f"{mutant.name}: its text stands {text.count(edit.old)} times in {edit.file}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def _last(lines: str) -> str:
    found: Sequence[str] = lines.strip().splitlines() or [""]
    return found[-1]


if __name__ == "__main__":
    sys.exit(main())
