"""What all connections of one bridge share."""

from collections.abc import Callable
from dataclasses import dataclass

from rest_bridge.connections import Connections
from rest_bridge.counts import Counts
from rest_bridge.quiet_log import QuietLog
from rest_bridge.surface import Surface


@dataclass(frozen=True, kw_only=True)
class House:
    """What all connections share."""

    surface: Surface
    connections: Connections
    counts: Counts
    log: QuietLog
    make_id: Callable[[], str]
    timer: Callable[[], float]
