"""A fault that can no longer be planted proves nothing, and nobody runs all of them every day."""

from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Edit

_ROOT = Path(__file__).parents[2]
_EDITS = [(mutant.name, edit) for mutant in MUTANTS for edit in mutant.edits]


@pytest.mark.parametrize(("name", "edit"), _EDITS, ids=[name for name, _edit in _EDITS])
def test_what_an_edit_replaces_stands_in_its_file_once(name: str, edit: Edit) -> None:
    text = (_ROOT / edit.file).read_text(encoding="utf-8")
    assert text.count(edit.old) == 1, f"{name}: {edit.file} has changed"
