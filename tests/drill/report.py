"""The figures of a drill, as a person reads them and as a file keeps them."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.drill.books import Books
from tests.drill.chaos import Chaos
from tests.drill.kafka_log import Delivery
from tests.drill.ledger import Ledger
from tests.drill.world import World

_SHOWN_VIOLATIONS = 40


def figures(
    *,
    seed: int,
    seconds: float,
    ledger: Ledger,
    books: Books,
    deliveries: Sequence[Delivery],
    chaos: Chaos,
    world: World,
    drained_s: float,
) -> dict[str, Any]:
    """Return what happened, by name."""
    kinds: Counter[str] = Counter()
    for what, count in chaos.done.items():
        kinds[what] += count
    return {
        "seed": seed,
        "seconds": round(seconds),
        "kills": chaos.killed,
        "faults": dict(sorted(kinds.items())),
        "requests": ledger.requests,
        "answers": dict(ledger.statuses.most_common()),
        "modes": dict(sorted(ledger.modes.items())),
        "bills": ledger.bills,
        "codes": ledger.codes,
        "claims": len(ledger.claims),
        "acknowledged": ledger.acknowledged,
        "payments stored": len(books.payments),
        "applications": sum(one.applied_to is not None for one in books.payments),
        "unapplied payments": sum(one.applied_to is None for one in books.payments),
        "unique events": len({one.event_id for one in deliveries}),
        "deliveries": len(deliveries),
        "outbox drained after the last repair (s)": round(drained_s, 1),
        "time to recover (s)": _recoveries(chaos, world),
        "violations": len(ledger.violations),
    }


def printed(*, found: dict[str, Any], violations: Sequence[str]) -> str:
    """Return the figures as lines, and the first violations."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"    {inner:<32} {one}" for inner, one in value.items()]
        else:
            lines.append(f"{name:<42} {value}")
    lines += [f"VIOLATION {one}" for one in violations[:_SHOWN_VIOLATIONS]]
    if len(violations) > _SHOWN_VIOLATIONS:
        lines.append(f"... and {len(violations) - _SHOWN_VIOLATIONS} more")
    return "\n".join(lines)


def _recoveries(chaos: Chaos, world: World) -> dict[str, str]:
    found = dict(chaos.recoveries_s)
    for name, program in world.programs.items():
        found[name] = program.lives.recoveries_s
    return {
        name: f"median {statistics.median(lengths):.1f}, longest {max(lengths):.1f},"
        f" {len(lengths)} times"
        for name, lengths in sorted(found.items())
        if lengths
    }
