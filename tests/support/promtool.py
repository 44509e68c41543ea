"""Prometheus' own tool, asked about rules: are they well formed, what would they do."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing (it is in the Debian package prometheus)"
)
FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'


def promtool(*arguments: str) -> str:
    """Return what promtool says; fail unless it is content."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def case(
    *, series: Mapping[str, str], at: str, firing: Iterable[str], name: str = ""
) -> dict[str, Any]:
    """Return a case for `promtool test rules`: after `series`, exactly `firing` fire."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": FIRING,
                "eval_time": at,
                "exp_samples": [
                    {"labels": f'{{alertname="{one}"}}', "value": 1} for one in sorted(firing)
                ],
            }
        ],
    }


def hold(*, rules: Path, case: Mapping[str, Any], folder: Path) -> None:
    """Fail unless `case` holds for the alerts of `rules`."""
    file = folder / "case.yml"  # JSON is YAML
    file.write_text(
        json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]})
    )
    promtool("test", "rules", str(file))
