"""What goes wrong, when, and how it is repaired: all drawn from one seed."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.drill.world import GATEWAYS, World

POINTS = (
    *(
        f"{name}.{when}_commit"
        for name in ("confirm", "inquire", "khqr_book", "khqr_take", "khqr_record", "khqr_code")
        for when in ("before", "after")
    ),
    *("relay.before_publish", "relay.after_acknowledgement"),
    *("relay_mark.before_commit", "relay_mark.after_commit"),
)
_PROGRAMS = (*GATEWAYS, "khqr", "bridge", "sandbox")
_POINT_LIMIT_S = 15.0  # an armed point that nobody reaches is disarmed
_HEALTHY_LIMIT_S = 60.0
_TELL_EVERY = 100  # kills, so that whoever waits for a long drill knows where it is

# kind -> how often, among all
_WEIGHTS = {
    "kill": 34,
    "point": 26,
    "freeze": 8,
    "terminate": 4,
    "cut": 8,
    "cut_answer": 4,
    "delay": 5,
    "swallow": 4,
    "kill_postgres": 4,
    "freeze_postgres": 1,
    "restart_postgres": 1,
    "kill_kafka": 2,
    "freeze_kafka": 1,
}


@dataclass(kw_only=True)
class Chaos:
    """Draws faults until `kills` processes were killed or `ends_at_s` (monotonic) has come."""

    world: World
    rng: random.Random
    kills: int
    kafka_kills: int
    ends_at_s: float
    pause_s: float = 1.0  # the mean between two faults
    points: tuple[str, ...] = ()  # kill at these alone, and do no other harm
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)  # what the drill itself could not do
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def killed(self) -> int:
        """How many processes were killed (-9), at random or at a point."""
        return sum(
            count for kind, count in self.done.items() if kind.split()[0] in {"kill", "point"}
        )

    async def run(self) -> None:
        """Do harm, then return once everything is repaired."""
        told = 0
        each = self.rng.sample(sorted(_WEIGHTS), len(_WEIGHTS))  # every kind once, at the least
        while self.killed < self.kills and time.monotonic() < self.ends_at_s:
            await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
            kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
            if self.killed >= told + _TELL_EVERY:
                told = self.killed
                print(f"{told} kills", flush=True)
            kind = each.pop() if each else self.rng.choices(kinds, weights=weights)[0]
            self._start("point" if self.points else kind)
        if self._running:
            await asyncio.wait(set(self._running))
        for link in self.world.links.values():
            link.clear()
        for name, program in self.world.programs.items():
            try:
                await program.healthy(within_s=_HEALTHY_LIMIT_S)
            except TimeoutError:
                self.failed.append(f"{name} was not well {_HEALTHY_LIMIT_S:g} s after all repairs")

    def _start(self, kind: str) -> None:
        harm, target = self._drawn(kind)
        if target in self._busy or (kind == "kill_kafka" and self._kafka_is_spent()):
            return
        self._busy.add(target)

        async def do() -> None:
            try:
                await harm(target)
            finally:
                self._busy.discard(target)

        task = asyncio.create_task(do(), name=f"{kind} {target}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            self.failed.append(f"{task.get_name()}: {type(problem).__name__}: {problem}")

    def _drawn(self, kind: str) -> tuple[Callable[[str], Awaitable[None]], str]:
        program = self.rng.choice(_PROGRAMS)
        link = self.rng.choice(sorted(self.world.links))
        table: dict[str, tuple[Callable[[str], Awaitable[None]], str]] = {
            "kill": (self._kill, program),
            "freeze": (self._freeze, program),
            "terminate": (self._terminate, program),
            "point": (self._die_at, self.rng.choice(self.points or POINTS)),
            "cut": (self._cut, link),
            "cut_answer": (self._cut_answer, link),
            "delay": (self._delay, link),
            "swallow": (self._swallow, link),
            "kill_postgres": (self._kill_postgres, "postgres"),
            "freeze_postgres": (self._freeze_postgres, "postgres"),
            "restart_postgres": (self._restart_postgres, "postgres"),
            "kill_kafka": (self._kill_kafka, "kafka-broker"),
            "freeze_kafka": (self._freeze_kafka, "kafka-broker"),
        }
        return table[kind]

    def _kafka_is_spent(self) -> bool:
        return self.done["kill kafka"] >= self.kafka_kills

    async def _kill(self, name: str) -> None:
        if self.world.programs[name].send(signal.SIGKILL):
            self.done[f"kill {name}"] += 1
            await asyncio.sleep(0.2)
            await self.world.programs[name].healthy(within_s=_HEALTHY_LIMIT_S)

    async def _terminate(self, name: str) -> None:
        if self.world.programs[name].send(signal.SIGTERM):
            self.done[f"terminate {name}"] += 1
            await asyncio.sleep(1)
            await self.world.programs[name].healthy(within_s=_HEALTHY_LIMIT_S)

    async def _freeze(self, name: str) -> None:
        program = self.world.programs[name]
        if program.send(signal.SIGSTOP):
            self.done[f"freeze {name}"] += 1
            await asyncio.sleep(self.rng.uniform(0.5, 8))
            program.send(signal.SIGCONT)

    async def _die_at(self, point: str) -> None:
        armed = self.world.points / point
        armed.write_text("kill")
        ends_at_s = time.monotonic() + _POINT_LIMIT_S
        while armed.exists() and time.monotonic() < ends_at_s:
            await asyncio.sleep(0.05)
        try:
            armed.unlink()
        except FileNotFoundError:
            self.done[f"point {point}"] += 1

    async def _cut(self, name: str) -> None:
        if self.world.links[name].cut():
            self.done[f"cut {name}"] += 1

    async def _cut_answer(self, name: str) -> None:
        link = self.world.links[name]
        link.weather.cut_after_bytes = self.rng.randrange(1, 2_000)
        self.done[f"cut_answer {name}"] += 1
        await asyncio.sleep(2)
        link.clear()

    async def _delay(self, name: str) -> None:
        link = self.world.links[name]
        link.weather.delay_s = self.rng.uniform(0.05, 0.6)
        self.done[f"delay {name}"] += 1
        await asyncio.sleep(self.rng.uniform(1, 6))
        link.clear()

    async def _swallow(self, name: str) -> None:
        link = self.world.links[name]
        link.swallow()
        self.done[f"swallow {name}"] += 1
        await asyncio.sleep(self.rng.uniform(1, 8))
        link.clear()

    async def _kill_postgres(self, _: str) -> None:
        await asyncio.to_thread(self.world.postgres.kill)
        self.done["kill postgres"] += 1
        await asyncio.sleep(self.rng.uniform(0, 1))
        await self._timed("postgres", self.world.postgres.start)

    async def _restart_postgres(self, _: str) -> None:
        self.done["restart postgres"] += 1
        await asyncio.to_thread(self.world.postgres.restart)

    async def _freeze_postgres(self, _: str) -> None:
        self.done["freeze postgres"] += 1
        await asyncio.to_thread(self.world.postgres.freeze)
        await asyncio.sleep(self.rng.uniform(0.5, 4))
        await asyncio.to_thread(self.world.postgres.thaw)

    async def _kill_kafka(self, _: str) -> None:
        await asyncio.to_thread(self.world.kafka.kill)
        self.done["kill kafka"] += 1
        await asyncio.sleep(self.rng.uniform(0, 3))
        await self._timed("kafka", self.world.kafka.start)

    async def _freeze_kafka(self, _: str) -> None:
        self.done["freeze kafka"] += 1
        self.world.kafka.freeze()
        await asyncio.sleep(self.rng.uniform(0.5, 6))
        with contextlib.suppress(ProcessLookupError):
            self.world.kafka.thaw()

    async def _timed(self, name: str, start: Callable[[], Any]) -> None:
        began_s = time.monotonic()
        await asyncio.to_thread(start)
        self.recoveries_s.setdefault(name, []).append(time.monotonic() - began_s)
