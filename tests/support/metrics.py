"""What services tell Prometheus, and what `docs/metrics.md` says that they do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"\| `([a-z_]+)` \| (\w+) \|([^|]*)\|([^|]*)\|", re.ASCII)
_PARTS = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One name that Prometheus knows, with the labels it has."""

    name: str
    kind: str
    labels: frozenset[str]


def series_of(text: str) -> set[Series]:
    """Return what a scrape holds."""
    found = set()
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.add(Series(name=name, kind=family.type, labels=frozenset(labels)))
    return found


def values_of(text: str) -> dict[str, float]:
    """Return the values of a scrape, by series as Prometheus writes it."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, value in pairs}


async def scraped(address: str) -> str:
    """Return what `GET /metrics` says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as response,
    ):
        assert response.status == 200
        return await response.text()


def documented() -> dict[str, set[Series]]:
    """Return the rows of the document, by service."""
    found: dict[str, set[Series]] = {}
    for name, kind, labels, services in _ROW.findall(
        (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    ):
        one = Series(name=name, kind=kind, labels=frozenset(_words(labels)))
        for service in _words(services):
            found.setdefault(service, set()).add(one)
    return found


def queryable(series: Iterable[Series]) -> set[str]:
    """Return the names that an expression may use."""
    return {f"{one.name}{part}" for one in series for part in _PARTS.get(one.kind, ("",))}


def _words(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(",") if word.strip()]
