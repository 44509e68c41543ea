"""How much of the cores each part of the world has used."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.drill.world import World
from tests.support.process_tree import descendants


def cpu_s(*, world: World) -> Mapping[str, float]:
    """Return the CPU seconds, so far, of each program and of the two servers."""
    found = {name: _used_s([one.pid]) for name, one in world.programs.items()}
    for name, pid in (("postgres", world.postgres.pid), ("kafka", world.kafka.pid)):
        found[name] = _used_s([pid, *descendants(pid=pid)])
    return found


def ms_each(
    *, before: Mapping[str, float], after: Mapping[str, float], answers: int
) -> dict[str, float]:
    """Return the milliseconds of each part for one of `answers`."""
    return {name: round((after[name] - before[name]) * 1000 / max(1, answers), 2) for name in after}


def _used_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
