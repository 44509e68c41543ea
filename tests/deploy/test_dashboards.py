"""The dashboards: what the generator writes, asking for what the services serve."""

import json
import re
from pathlib import Path

import pytest

from tests.deploy.dashboards import DASHBOARDS, FOLDER, path_of, written
from tests.support.metrics import documented, queryable
from tests.support.promql import matched_labels, names_in
from tests.support.promtool import needs_promtool, promtool

SERIES = {one for found in documented().values() for one in found}
# Of the language's own run time; a person asks for these at need.
UNSHOWN = re.compile(r"python_|process_(start_time|virtual_memory)")
GIVEN_BY_PROMETHEUS = {"job", "instance", "le"}


def _expressions(name: str) -> list[str]:
    document = json.loads(path_of(name=name).read_text(encoding="utf-8"))
    return [one["expr"] for panel in document["panels"] for one in panel["targets"]]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_file_is_what_the_table_says(name: str) -> None:
    assert path_of(name=name).read_text(encoding="utf-8") == written(name=name), "make dashboards"


def test_there_is_no_file_without_a_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == DASHBOARDS.keys()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_panel_asks_for_what_a_service_serves(name: str) -> None:
    for expression in _expressions(name):
        names = names_in(expression)
        assert names, expression
        assert names <= queryable(SERIES), expression
        labels = {
            label for one in SERIES for label in one.labels
            if any(used.startswith(one.name) for used in names)
        }  # fmt: skip
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert matched_labels(expression) | grouped <= labels | GIVEN_BY_PROMETHEUS, expression


@needs_promtool
def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": one.replace("$__rate_interval", "5m")}
        for number, one in enumerate(one for each in DASHBOARDS for one in _expressions(each))
    ]
    file = tmp_path / "expressions.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(file))


def test_every_series_is_shown_somewhere() -> None:
    shown = {name for each in DASHBOARDS for one in _expressions(each) for name in names_in(one)}
    for one in SERIES:
        if not UNSHOWN.match(one.name):
            assert queryable([one]) & shown, f"{one.name} is on no dashboard"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_numbers_of_their_own_and_lie_beside_one_another(name: str) -> None:
    panels = json.loads(path_of(name=name).read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_a_name_nobody_serves_is_seen() -> None:
    assert names_in("sum by (le) (rate(no_such_series_total{a='b'}[5m])) / other") == {
        "no_such_series_total",
        "other",
    }
    assert "no_such_series_total" not in queryable(SERIES)
