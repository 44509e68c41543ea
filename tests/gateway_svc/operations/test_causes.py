"""No cause is written that the table of causes does not have: it is what pages translate."""

import ast
from collections.abc import Iterator
from pathlib import Path

from gateway_svc.operations.causes import ALL_CAUSES
from tests.gateway_svc.operations.stage import Stage

GATEWAY = Path(__file__).parents[3] / "gateway_svc"


def _written(tree: ast.AST) -> Iterator[str]:
    """Yield every text that stands where a state's cause is written."""
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.keyword) and node.arg == "state_cause":
            values = [node.value]
        elif isinstance(node, ast.Dict):
            values = [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "state_cause"
            ]
        for value in values:
            for one in ast.walk(value):
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield one.value


def test_every_cause_in_the_code_is_in_the_table() -> None:
    written = {
        text
        for path in GATEWAY.rglob("*.py")
        for text in _written(ast.parse(path.read_text(encoding="utf-8")))
    }
    # Parts of texts that are put together ("proposed APPLY"), and the name of a parameter.
    assert written - ALL_CAUSES - {"proposed ", " ", "cause"} == set()
    assert {"inquiry", "generated", "bill notice", "verified"} <= written


async def test_every_cause_that_was_kept_is_in_the_table(filled: Stage) -> None:
    await filled.ended("notice-2", "VOID")
    await filled.ended("payment-2", "REFUND")
    await filled.propose("payment-2", "REFUNDED", bank_reference="R")
    await filled.decide(3, "REJECT")
    kept = {cause for (cause,) in await filled.rows("SELECT DISTINCT cause FROM journal")}
    assert kept <= ALL_CAUSES
    assert {"two people: VOID", "approved REFUND", "rejected REFUNDED"} <= kept
