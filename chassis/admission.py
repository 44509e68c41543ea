"""How much may be under way at once: what cannot be started in time is refused at once.

A program that takes in everything answers everyone too late. Here so many calls are under
way, so many more wait their turn, and the rest is told "later" before it costs anything.
Vital calls (those whose caller will not simply ask again) are refused last: places are kept
for them, they wait longer, and whoever waits, they go first.

A service behind may take fewer calls than there are places here. Each time it says "too many"
its kind gets a tenth fewer places, and with each round it takes whole, one more: additive
increase, multiplicative decrease, as TCP finds its window (RFC 5681). So what it would refuse
is refused here, where that costs a fraction.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_WEIGHT = 0.1  # of the newest call in the average length of calls
_LONGEST_RETRY_S = 5.0
_LEAST_S = 0.05  # with less left of its time no call can be answered
_FEWER = 0.9  # places of a kind, after a refusal by the service behind


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many calls may be under way and wait; `*_s` are lengths of time.

    `most_of_one_kind` keeps a kind of call that has become slow from taking every place.
    """

    most: int
    kept_for_vital: int
    most_of_one_kind: int
    waiting: int
    waiting_vital: int
    patience_s: float = 0.5
    patience_vital_s: float = 2.0


@dataclass(kw_only=True)
class Overloaded(Exception):
    """The call was not started; there may be room in `retry_after_s`."""

    retry_after_s: float
    vital: bool


@dataclass(eq=False, kw_only=True)
class _Waiting:
    ends_at_s: float
    turn: asyncio.Future[bool]


@dataclass(eq=False, kw_only=True)
class _Kind:
    """The calls of one name."""

    vital: bool
    limit: float  # of its calls under way; at least one
    under_way: int = 0
    average_s: float = 0.0
    lowered: int = 0  # how often the service behind has made the limit lower
    queue: deque[_Waiting] = field(default_factory=deque)


class Turn:
    """A place that a call has, and what became of it behind."""

    def __init__(self, *, started_s: float, lowered: int) -> None:
        self.started_s = started_s
        self.lowered = lowered  # as it was when the call started
        self.is_refused = False

    def refused_behind(self) -> None:
        """Say that the service behind has no room for as many."""
        self.is_refused = True


class Admission:
    """Bounds the calls under way, in all and of each kind, and those that wait.

    `clock` gives monotonic seconds. A kind is a name from a contract, never a caller's word:
    kinds are kept for good.
    """

    def __init__(self, *, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._bounds = bounds
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._waiting = {True: 0, False: 0}  # by vital
        self.under_way = 0
        self.shed = {True: 0, False: 0}  # by vital

    @property
    def most(self) -> int:
        """How many may be under way."""
        return self._bounds.most

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._waiting[True] + self._waiting[False]

    def check(self, *, kind: str, vital: bool, ends_at_s: float, ahead: int = 0) -> None:
        """Return if a call would be started in time, were it to come now.

        `ahead` calls of its kind were told so before and have not come yet.

        :raises Overloaded: it would not.
        """
        self._foresee(self._kind(kind, vital), ends_at_s, ahead=ahead)

    @asynccontextmanager
    async def turn(self, *, kind: str, vital: bool, ends_at_s: float) -> AsyncIterator[Turn]:
        """Enter when it is the call's turn; leaving gives the place to the next.

        Whoever has the turn tells it if the service behind refuses the call for want of room.

        :raises Overloaded: its turn would not come, or has not come, before the moment
            `ends_at_s` or the end of the patience there is with its kind.
        """
        one = self._kind(kind, vital)
        self._foresee(one, ends_at_s)
        if self._has_place(one):
            self._take(one)
        else:
            await self._wait(one, ends_at_s)
        turn = Turn(started_s=self._clock(), lowered=one.lowered)
        try:
            yield turn
        finally:
            self._learn(one, turn)
            one.under_way -= 1
            self.under_way -= 1
            self._start_next()

    def _kind(self, name: str, vital: bool) -> _Kind:  # noqa: FBT001
        if name not in self._kinds:
            self._kinds[name] = _Kind(vital=vital, limit=self._bounds.most_of_one_kind)
        return self._kinds[name]

    def _learn(self, kind: _Kind, turn: Turn) -> None:
        """Take in how long the call took, and whether the service behind had room for it."""
        if not turn.is_refused:
            # A refusal takes no time: it says nothing of how long a call takes.
            kind.average_s += _WEIGHT * (self._clock() - turn.started_s - kind.average_s)
            if kind.under_way >= int(kind.limit):  # else more places would change nothing
                kind.limit = min(self._bounds.most_of_one_kind, kind.limit + 1 / kind.limit)
        elif turn.lowered == kind.lowered:  # refusals of one crowd are one refusal
            kind.limit = max(1.0, min(kind.limit, kind.under_way) * _FEWER)
            kind.lowered += 1

    def _has_place(self, kind: _Kind) -> bool:
        return self._places_free(kind) > 0

    def _places_free(self, kind: _Kind) -> int:
        most = self._bounds.most - (0 if kind.vital else self._bounds.kept_for_vital)
        return min(most - self.under_way, int(kind.limit) - kind.under_way)

    def _take(self, kind: _Kind) -> None:
        kind.under_way += 1
        self.under_way += 1

    def _foresee(self, kind: _Kind, ends_at_s: float, *, ahead: int = 0) -> None:
        left_s = ends_at_s - self._clock()
        if left_s < _LEAST_S:
            raise self._refused(kind, self._expected_s(kind))
        will_wait = ahead - max(0, self._places_free(kind))  # of those ahead
        if will_wait < 0:
            return
        bounds = self._bounds
        room = bounds.waiting_vital if kind.vital else bounds.waiting
        expected_s = self._expected_s(kind, ahead=will_wait)
        if self._waiting[kind.vital] + will_wait >= room or expected_s > min(
            left_s, self._patience_s(kind)
        ):
            raise self._refused(kind, expected_s)

    def _patience_s(self, kind: _Kind) -> float:
        return self._bounds.patience_vital_s if kind.vital else self._bounds.patience_s

    def _expected_s(self, kind: _Kind, *, ahead: int = 0) -> float:
        """Return how long the next one of `kind` would wait (Little's law)."""
        return (len(kind.queue) + ahead + 1) * kind.average_s / max(1, kind.under_way)

    def _refused(self, kind: _Kind, expected_s: float) -> Overloaded:
        self.shed[kind.vital] += 1
        retry_after_s = min(_LONGEST_RETRY_S, max(1.0, expected_s))
        return Overloaded(retry_after_s=retry_after_s, vital=kind.vital)

    async def _wait(self, kind: _Kind, ends_at_s: float) -> None:
        one = _Waiting(ends_at_s=ends_at_s, turn=asyncio.get_running_loop().create_future())
        kind.queue.append(one)
        self._waiting[kind.vital] += 1
        left_s = min(self._patience_s(kind), ends_at_s - self._clock())
        # asyncio.wait() with a time-out does the same for 3.5 us more (5.5 against 2.0), and under
        # overload every call waits.
        alarm = asyncio.get_running_loop().call_later(left_s, self._give_up, kind, one)
        try:
            is_in_time = await one.turn
        except asyncio.CancelledError:
            self._withdraw(kind, one)
            raise
        finally:
            alarm.cancel()
        if not is_in_time:
            raise self._refused(kind, self._expected_s(kind))

    def _give_up(self, kind: _Kind, one: _Waiting) -> bool:
        """Take one that has waited too long out of the queue, if it is still there."""
        if one not in kind.queue:
            return False
        kind.queue.remove(one)
        self._waiting[kind.vital] -= 1
        if not one.turn.done():
            one.turn.set_result(False)
        return True

    def _withdraw(self, kind: _Kind, one: _Waiting) -> None:
        """Let a caller leave; a place that was given in the same moment goes to the next."""
        if not self._give_up(kind, one) and not one.turn.cancelled() and one.turn.result():
            kind.under_way -= 1
            self.under_way -= 1
            self._start_next()

    def _start_next(self) -> None:
        """Give free places to those that wait: vital ones first, each kind in its order."""
        if not self.waiting:
            return
        now_s = self._clock()
        for vital in (True, False):
            for kind in [one for one in self._kinds.values() if one.vital is vital and one.queue]:
                while kind.queue and self._has_place(kind):
                    waiting = kind.queue.popleft()
                    self._waiting[vital] -= 1
                    if waiting.turn.done():  # its caller is just leaving
                        continue
                    in_time = waiting.ends_at_s - now_s >= _LEAST_S
                    if in_time:
                        self._take(kind)
                    waiting.turn.set_result(in_time)
