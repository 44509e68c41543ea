"""No float comes near money: the syntax tree of every domain file and adapter is read.

| allowed                                         | refused                                 |
|-------------------------------------------------|-----------------------------------------|
| times named so (`..._s`, deadline, clock)       | any other float literal or annotation   |
| paths joined with `/`                           | a division; `float(...)`; `round(...)`  |
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *sorted((ROOT / "gateway_svc").rglob("*.py")),
    # pages.py serves files: its divisions join paths.
    *sorted(
        set((ROOT / "rest_bridge").rglob("*.py"))
        # They know pages and sockets, seconds and shares of a limit, and never see a body.
        - {ROOT / "rest_bridge" / f"{name}.py" for name in ("pages", "connection", "connections")}
    ),
    *sorted((ROOT / "khqr_svc").rglob("*.py")),
    *sorted((ROOT / "amk_sandbox").rglob("*.py")),
    *(ROOT / "chassis" / name for name in ("money.py", "rules.py", "field_rule.py", "outbox.py")),
]
# Lengths of time, moments of the monotonic clock, and draws between 0 and 1.
UNITS = ("_s", "_S", "deadline", "until", "clock", "Clock", "timer", "sleep", "Sleep", "random")


def floats_in(tree: ast.AST) -> Iterator[str]:
    """Yield where a float could enter, by line."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            if not _is_time(node, parents):
                yield f"line {node.lineno}: literal {node.value}"
        elif isinstance(node, ast.Name) and node.id in {"float", "round"}:
            if not _is_time(node, parents):
                yield f"line {node.lineno}: {node.id}"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            right = node.right if isinstance(node, ast.BinOp) else node.value
            text = isinstance(right, ast.JoinedStr) or (
                isinstance(right, ast.Constant) and isinstance(right.value, str)
            )
            if not text and not _is_time(node, parents):
                yield f"line {node.lineno}: division"


def _is_time(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Tell whether the value belongs to something named as a length of time."""
    while node in parents:
        node = parents[node]
        names = _names(node)
        if names is not None:
            return any(name.endswith(UNITS) for name in names)
        if isinstance(node, ast.stmt):
            return False
    return False


def _names(node: ast.AST) -> list[str] | None:
    """Return what `node` gives its value to, or None where it names nothing."""
    if isinstance(node, ast.Assign):
        return [_name(target) for target in node.targets]
    if isinstance(node, ast.AnnAssign):
        return [_name(node.target)]
    if isinstance(node, ast.Call):
        return [_name(node.func)]
    if isinstance(node, ast.keyword | ast.arg):
        return [node.arg or ""]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    return None


def _name(node: ast.AST) -> str:
    return str(getattr(node, "id", getattr(node, "attr", "")))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_float_is_near_money_in(path: Path) -> None:
    assert list(floats_in(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "amount = 1.5",
        "amount: float",
        "def f(amount: float): ...",
        "float(text)",
        "total = a / b",
        "total /= 2",
        "round(amount, 2)",
        "f(amount=0.1)",
        "timeout_s = 1\namount = 0.5",
    ],
)
def test_the_check_sees_a_planted_float(source: str) -> None:
    assert list(floats_in(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "timeout_s: float = 2.0",
        "f(timeout_s=0.5)",
        'path = root / "x"',
        "def f(*, a_s: float): ...",
    ],
)
def test_the_check_lets_lengths_of_time_and_paths_pass(source: str) -> None:
    assert not list(floats_in(ast.parse(source)))
