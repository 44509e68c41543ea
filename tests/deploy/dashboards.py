"""Grafana's dashboards, from a table: `python -m tests.deploy.dashboards` writes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.metrics import ROOT

FOLDER = ROOT / "deploy/grafana"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _COLUMNS = 24, 2
_HEIGHT_STAT, _HEIGHT_GRAPH = 4, 8
_RATE = "$__rate_interval"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A number, or lines over time: expressions with the names of their lines."""

    title: str
    lines: tuple[tuple[str, str], ...]
    unit: str = "short"
    words: str = ""
    is_stat: bool = False
    red_from: float | None = None  # of a number: from here on a person should look


def _share(name: str, good: str, every: str) -> str:
    return f"sum(rate({name}{{{good}}}[{_RATE}])) / sum(rate({name}{{{every}}}[{_RATE}]))"


def _p(quantile: float, name: str, by: str, selector: str = "") -> str:
    return (
        f"histogram_quantile({quantile}, sum by (le, {by})"
        f" (rate({name}_bucket{selector}[{_RATE}])))"
    )


_CONFIRM = 'rpc=~"GatewayService/Confirm.+"'
_CALLERS = "BAD_REQUEST|UNAUTHORIZED|FORBIDDEN|BANK_NOT_FOUND|RATE_LIMITED|CANCELLED"

PAYMENTS = (
    Panel(
        title="Payments in 24 hours",
        lines=(("sum by (currency) (increase(payments_recorded_total[24h]))", "{{currency}}"),),
        is_stat=True,
    ),
    Panel(
        title="Accepted",
        lines=(
            (
                _share(
                    "rpc_calls_total",
                    f'{_CONFIRM}, outcome="OK"',
                    f'{_CONFIRM}, outcome!~"{_CALLERS}"',
                ),
                "accepted",
            ),
        ),
        unit="percentunit",
        is_stat=True,
    ),
    Panel(
        title="Longest wait for a bank's word",
        lines=(("max(notices_oldest_age_seconds)", "age"),),
        unit="s",
        is_stat=True,
        red_from=900,
    ),
    Panel(
        title="Waiting for a person",
        lines=(("sum(max by (channel, hold) (exceptions_open))", "exceptions"),),
        is_stat=True,
        red_from=1,
    ),
    Panel(
        title="Oldest event on its way to Kafka",
        lines=(("max(outbox_oldest_unpublished_age_seconds)", "age"),),
        unit="s",
        is_stat=True,
        red_from=60,
    ),
    Panel(
        title="Parked events",
        lines=(("max(outbox_parked_events)", "parked"),),
        is_stat=True,
        red_from=1,
    ),
    Panel(
        title="Payments by channel and state",
        lines=(
            (
                f"sum by (channel, state) (rate(payments_recorded_total[{_RATE}])) * 300",
                "{{channel}} {{state}}",
            ),
        ),
        words="Per five minutes.",
    ),
    Panel(
        title="Confirmations by outcome",
        lines=(
            (f"sum by (outcome) (rate(rpc_calls_total{{{_CONFIRM}}}[{_RATE}]))", "{{outcome}}"),
        ),
        unit="reqps",
    ),
    Panel(
        title="How long a bank takes",
        lines=(
            (_p(0.5, "outbound_duration_seconds", "peer, endpoint"), "{{peer}} {{endpoint}} p50"),
            (_p(0.95, "outbound_duration_seconds", "peer, endpoint"), "{{peer}} {{endpoint}} p95"),
        ),
        unit="s",
    ),
    Panel(
        title="How exchanges with banks and insurer end",
        lines=(
            (
                f"sum by (peer, endpoint, outcome) (rate(outbound_attempts_total[{_RATE}]))",
                "{{peer}} {{endpoint}} {{outcome}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        title="Breakers that are not closed",
        lines=(
            (
                'max by (peer, endpoint, state) (outbound_breaker_state{state!="closed"})',
                "{{peer}} {{endpoint}} {{state}}",
            ),
        ),
    ),
    Panel(
        title="What banks say when asked, and our sign-ins",
        lines=(
            (
                f"sum by (bank, outcome) (rate(bank_verifications_total[{_RATE}]))",
                "{{bank}} {{outcome}}",
            ),
            (
                f'sum by (bank, outcome) (rate(bank_tokens_total{{outcome!="cached"}}[{_RATE}]))',
                "{{bank}} sign-in {{outcome}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        title="What waits for a bank",
        lines=(
            ("max by (state) (notices_open)", "{{state}}"),
            ("max by (state) (notices_oldest_age_seconds)", "{{state}}, oldest (s)"),
        ),
    ),
    Panel(
        title="What waits for a person",
        lines=(
            ("max by (channel, hold) (exceptions_open) > 0", "{{channel}} {{hold}}"),
            ("max(exceptions_oldest_age_seconds) / 3600", "oldest (h)"),
        ),
    ),
    Panel(
        title="Events by what became of them",
        lines=((f"sum by (outcome) (rate(relay_events_total[{_RATE}]))", "{{outcome}}"),),
        unit="reqps",
    ),
    Panel(
        title="Outbox",
        lines=(
            ("max(outbox_unpublished_events)", "unpublished"),
            ("max(outbox_replays_pending)", "to be delivered once more"),
            ("sum(relay_is_leader)", "leaders"),
        ),
    ),
)

SERVICES = (
    Panel(
        title="Versions",
        lines=(("count by (service, version) (build_info)", "{{service}} {{version}}"),),
        is_stat=True,
    ),
    Panel(
        title="Not ready",
        lines=(("count(service_ready == 0) or vector(0)", "not ready"),),
        is_stat=True,
        red_from=1,
    ),
    Panel(
        title="Since the last measurement",
        lines=(
            ("time() - max(outbox_measured_timestamp_seconds)", "outbox"),
            ("time() - max(work_measured_timestamp_seconds)", "work"),
        ),
        unit="s",
        is_stat=True,
        red_from=60,
    ),
    Panel(
        title="Requests by route and status",
        lines=(
            (
                f"sum by (method, route, status) (rate(http_requests_total[{_RATE}]))",
                "{{method}} {{route}} {{status}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        title="How long requests take, p95",
        lines=((_p(0.95, "http_duration_seconds", "route"), "{{route}}"),),
        unit="s",
    ),
    Panel(
        title="Calls by RPC",
        lines=((f"sum by (rpc) (rate(rpc_calls_total[{_RATE}]))", "{{rpc}}"),),
        unit="reqps",
    ),
    Panel(
        title="Calls that end with a fault of ours or a bank's",
        lines=(
            (
                "sum by (rpc, outcome) (rate(rpc_calls_total{"
                'outcome=~"SERVER_UNAVAILABLE|AMK_UNKNOWN_ERROR|INTERNAL_ERROR"}'
                f"[{_RATE}]))",
                "{{rpc}} {{outcome}}",
            ),
        ),
        unit="reqps",
    ),
    Panel(
        title="How long calls take, p95",
        lines=((_p(0.95, "rpc_duration_seconds", "rpc"), "{{rpc}}"),),
        unit="s",
    ),
    Panel(
        title="Calls under way, waiting, told to come later",
        lines=(
            ("sum by (job) (calls_under_way)", "{{job}} under way"),
            ("sum by (job) (calls_waiting)", "{{job}} waiting"),
            (f"sum by (job, kind) (rate(calls_shed_total[{_RATE}]))", "{{job}} {{kind}} shed (/s)"),
        ),
    ),
    Panel(
        title="Connections to the database",
        lines=(
            ("database_connections_in_use", "{{instance}} in use"),
            ("max(database_connections_limit)", "limit"),
        ),
    ),
    Panel(
        title="Batches",
        lines=(
            (_p(0.5, "group_commit_batch_size", "writer"), "{{writer}} p50"),
            (_p(0.99, "group_commit_batch_size", "writer"), "{{writer}} p99"),
            ("sum by (writer) (group_commit_waiting)", "{{writer}} waiting"),
        ),
    ),
    Panel(
        title="Connections of callers",
        lines=(
            ("sum(http_connections)", "open"),
            (
                f"sum by (reason) (rate(http_connections_refused_total[{_RATE}]))",
                "refused {{reason}} (/s)",
            ),
            (
                f"sum by (reason) (rate(http_connections_closed_total[{_RATE}]))",
                "closed {{reason}} (/s)",
            ),
        ),
    ),
    Panel(
        title="What is no request of ours",
        lines=(
            (f"sum by (reason) (rate(http_malformed_total[{_RATE}]))", "malformed {{reason}}"),
            (f"sum by (reason) (rate(http_refused_total[{_RATE}]))", "refused {{reason}}"),
        ),
        unit="reqps",
    ),
    Panel(
        title="Memory",
        lines=(("process_resident_memory_bytes", "{{job}} {{instance}}"),),
        unit="bytes",
    ),
    Panel(
        title="Processor",
        lines=((f"rate(process_cpu_seconds_total[{_RATE}])", "{{job}} {{instance}}"),),
        unit="percentunit",
    ),
    Panel(
        title="Open files, of those allowed",
        lines=(("process_open_fds / process_max_fds", "{{job}} {{instance}}"),),
        unit="percentunit",
    ),
)

DASHBOARDS = {
    "payments": ("Payments", PAYMENTS),
    "services": ("Services", SERVICES),
}


def dashboard(*, name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"payments-{name}",
        "title": title,
        "tags": ["payments"],
        "timezone": "Asia/Phnom_Penh",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
            ]
        },
        "panels": _placed(panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    stats = [one for one in panels if one.is_stat]
    graphs = [one for one in panels if not one.is_stat]
    width = _WIDTH // len(stats)
    found = [
        _panel(one, number, {"x": place * width, "y": 0, "w": width, "h": _HEIGHT_STAT})
        for number, (place, one) in enumerate(enumerate(stats), start=1)
    ]
    half = _WIDTH // _COLUMNS
    for place, one in enumerate(graphs):
        row, column = divmod(place, _COLUMNS)
        grid = {
            "x": column * half,
            "y": _HEIGHT_STAT + row * _HEIGHT_GRAPH,
            "w": half,
            "h": _HEIGHT_GRAPH,
        }
        found.append(_panel(one, len(found) + 1, grid))
    return found


def _panel(panel: Panel, number: int, grid: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    return {
        "id": number,
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.words,
        "datasource": _SOURCE,
        "gridPos": grid,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": line}
            for place, (expression, line) in enumerate(panel.lines)
        ],
    }


def written(*, name: str) -> str:
    """Return the file of a dashboard."""
    return json.dumps(dashboard(name=name), indent=2) + "\n"


def path_of(*, name: str) -> Path:
    """Return where a dashboard is kept."""
    return FOLDER / f"{name}.json"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        path_of(name=each).write_text(written(name=each), encoding="utf-8")
