"""The alert rules: well formed, told to a person in full, and held by cases of their own.

Each alert has a severity, a summary, a description, a chapter of the runbook, a case in
`deploy/prometheus/tests` that fires it, and one of the same file that does not. Every name in an
expression is one that a service serves.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.metrics import ROOT, documented, queryable
from tests.support.promql import matched_labels, names_in
from tests.support.promtool import FIRING, hold, needs_promtool, promtool

RULES = ROOT / "deploy/prometheus/alerts.yml"
CASES = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
PROMETHEUS_OWN = {"up"}


def _alerts() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def _cases() -> list[dict[str, Any]]:
    return [
        {**one, "file": file.name}
        for file in CASES
        for one in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
    ]


def _fired(one: dict[str, Any]) -> set[str]:
    [question] = one["promql_expr_test"]
    assert question["expr"] == FIRING
    return {re.findall(r'"(\w+)"', sample["labels"])[0] for sample in question["exp_samples"]}


@needs_promtool
def test_promtool_takes_the_rules_and_every_case_of_theirs_holds() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", *map(str, CASES))


@needs_promtool
def test_a_case_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    [first, *_] = _cases()
    del first["file"]
    first["promql_expr_test"][0]["exp_samples"] = []
    with pytest.raises(AssertionError, match="FAILED"):
        hold(rules=RULES, case=first, folder=tmp_path)


@pytest.mark.parametrize("name", _alerts())
def test_an_alert_says_what_it_is_and_where_it_is_explained(name: str) -> None:
    alert = _alerts()[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    notes = alert["annotations"]
    assert notes["summary"]
    assert notes["description"]
    path, _, anchor = notes["runbook"].partition("#")
    chapters = re.findall(r"^### (\w+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == name.lower()
    assert name in chapters


def test_the_runbook_has_no_chapter_without_an_alert_and_each_says_three_things() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    chapters = re.split(r"^### (\w+)$", text, flags=re.MULTILINE)[1:]
    assert set(chapters[::2]) == set(_alerts())
    for words in chapters[1::2]:
        for part in ("**Meaning.**", "**Check.**", "**Cure.**"):
            assert part in words, words


@pytest.mark.parametrize("name", _alerts())
def test_an_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    used = names_in(_alerts()[name]["expr"])
    firing = [one for one in _cases() if name in _fired(one)]
    silent = [
        one
        for one in _cases()
        if name not in _fired(one) and used & {_metric(s["series"]) for s in one["input_series"]}
    ]
    assert firing
    assert silent


@pytest.mark.parametrize("name", _alerts())
def test_an_expression_uses_what_a_service_serves(name: str) -> None:
    expression = _alerts()[name]["expr"]
    series = {one for found in documented().values() for one in found}
    names = names_in(expression)
    assert names
    assert names <= queryable(series) | PROMETHEUS_OWN
    labels = {
        label
        for one in series
        for label in one.labels
        if any(used.startswith(one.name) for used in names)
    }
    assert matched_labels(expression) <= labels


def _metric(series: str) -> str:
    return series.partition("{")[0]
