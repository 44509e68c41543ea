"""How full the ways to the database are: its pool of connections, the batches of its writers.

Everything but the sizes of batches is read when somebody asks.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram

from chassis.database import Database
from chassis.group_commit import GroupCommit

_BATCHES = (1, 2, 4, 8, 16, 32, 64)


def watch_pool(*, registry: CollectorRegistry, database: Database) -> None:
    """Tell how many connections to the database are in use, and how many there may be."""
    Gauge(
        "database_connections_in_use", "Connections that somebody works with.", registry=registry
    ).set_function(lambda: float(database.connections_in_use))
    Gauge(
        "database_connections_limit", "Connections that there may be.", registry=registry
    ).set_function(lambda: float(database.connections_limit))


def watch_writers(
    *, registry: CollectorRegistry, writers: Mapping[str, GroupCommit[Any, Any]]
) -> None:
    """Tell how many items the batches of each writer hold, and how many wait for the next."""
    sizes = Histogram(
        "group_commit_batch_size",
        "Items that one transaction recorded.",
        ("writer",),
        buckets=_BATCHES,
        registry=registry,
    )
    waiting = Gauge(
        "group_commit_waiting", "Items that wait to be recorded.", ("writer",), registry=registry
    )
    for name, writer in writers.items():
        writer.watch(sizes.labels(name).observe)
        waiting.labels(name).set_function(partial(_waiting, writer))


def _waiting(writer: GroupCommit[Any, Any]) -> float:
    return float(writer.waiting)
