"""What a scenario came to."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.load import Answered, Connections, percentile
from tests.drill.world import World

_CONNECTIONS = 700  # below what the bridge takes


@dataclass(kw_only=True)
class Outcome:
    """The figures of a scenario, and what of its promise did not hold."""

    figures: dict[str, Any]
    broken: list[str]


Scenario = Callable[[World, random.Random], Awaitable[Outcome]]


def latency(*, answers: list[Answered]) -> str:
    """Return the p50 and p99 of `answers` in milliseconds, as words."""
    p50, p99 = (percentile(answers=answers, share=share) for share in (0.5, 0.99))
    return f"{p50:.0f} / {p99:.0f}"


def port_of(*, world: World) -> int:
    """Return the port of its bridge."""
    return int(world.bridge_url.rpartition(":")[2])


def connections_to(*, world: World) -> Connections:
    """Return connections to its bridge."""
    return Connections(port=port_of(world=world), most=_CONNECTIONS)
