"""How many connections there may be, from everyone and from one address, and which one goes first.

Without a bound a thousand silent connections take every file descriptor the process has.
"""

from collections import Counter, OrderedDict
from typing import Protocol

from rest_bridge.counts import Counts
from rest_bridge.peers import Address as PeerAddress
from rest_bridge.peers import Peers, neighbourhood

SILENT_GRACE_S = 1.0  # a caller that means to ask has asked by then
_TURNED_AWAY_LIMIT = 64  # told why; beyond that a connection is cut without a word
_NEAR = 0.9  # of the limit: from there on idle connections make room
SPARE_DESCRIPTORS = _TURNED_AWAY_LIMIT + 136  # listeners, gRPC, files, standard streams


class Guest(Protocol):
    """One connection, as the table sees it."""

    peer: PeerAddress | None

    def cut(self, *, reason: str) -> None:
        """Close it, and count why."""

    def check(self, *, now_s: float) -> str:
        """Close it if one of its deadlines has passed, and return which, or an empty text."""


class Connections:
    """Every open connection; who may come in, who must go.

    `limit` bounds them all, `per_address` those of one address (of one /64 of IPv6) that is
    not a trusted proxy. Times are moments of one monotonic clock, in seconds.
    """

    def __init__(self, *, limit: int, per_address: int, peers: Peers, counts: Counts) -> None:
        self._limit = limit
        self._per_address = per_address
        self._peers = peers
        self._counts = counts
        self._open: dict[Guest, str] = {}
        self._by_address: Counter[str] = Counter()
        self._turned_away: set[Guest] = set()
        # Both in the order in which their waiting began.
        self._idle: OrderedDict[Guest, None] = OrderedDict()
        self._silent: OrderedDict[Guest, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are open, without those that are being turned away."""
        return len(self._open)

    def enter(self, *, guest: Guest, now_s: float) -> bool:
        """Take `guest` in and return True, or return False: there is no room."""
        if len(self._open) >= self._limit * _NEAR:
            self._make_room(now_s)
        key = neighbourhood(address=guest.peer)
        if len(self._open) >= self._limit:
            self._counts.add(kind="connections_refused", reason="total")
            return False
        bounded = not self._peers.is_proxy(address=guest.peer)
        if bounded and self._by_address[key] >= self._per_address:
            self._counts.add(kind="connections_refused", reason="per_address")
            return False
        self._open[guest] = key
        self._by_address[key] += 1
        self._silent[guest] = now_s
        return True

    def turn_away(self, *, guest: Guest) -> bool:
        """Return whether a refused `guest` may stay until it was told why."""
        if len(self._turned_away) >= _TURNED_AWAY_LIMIT:
            return False
        self._turned_away.add(guest)
        return True

    def leave(self, *, guest: Guest) -> None:
        """Forget `guest`."""
        self._turned_away.discard(guest)
        self.is_busy(guest=guest)
        key = self._open.pop(guest, None)
        if key is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def is_busy(self, *, guest: Guest) -> None:
        """Note that something of a request has come from `guest`."""
        self._silent.pop(guest, None)
        self._idle.pop(guest, None)

    def is_idle(self, *, guest: Guest) -> None:
        """Note that `guest` has had its answer and asks nothing."""
        if guest in self._open:
            self._idle[guest] = None

    def run_once(self, *, now_s: float) -> int:
        """Check every deadline and return how many connections were closed."""
        guests = (*self._open, *self._turned_away)
        return sum(1 for guest in guests if guest.check(now_s=now_s))

    def _make_room(self, now_s: float) -> None:
        """Close the connection that has been idle for longest, else one that never spoke."""
        for guest in self._idle:
            self.leave(guest=guest)
            guest.cut(reason="made_room")
            return
        for guest, since_s in self._silent.items():
            if len(self._open) >= self._limit and now_s - since_s >= SILENT_GRACE_S:
                self.leave(guest=guest)
                guest.cut(reason="made_room")
            return
