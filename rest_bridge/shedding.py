"""Refusing before a request is made of what was read.

Under overload most of what a bridge does is refusing, on the core that the accepted calls need.
A request that stands alone on its connection, whole, and for which there is no room is answered
from its parsed head: no task is woken, no request object made. Whatever is not as plain as that
goes the long way, where the same is decided with the same words.
"""

from collections.abc import Callable
from typing import Protocol

from aiohttp.http_parser import RawRequestMessage

from chassis.admission import Admission, Overloaded
from rest_bridge import surface as words
from rest_bridge.answered import Answered, unanswered
from rest_bridge.counts import Counts
from rest_bridge.kinds import Kinds
from rest_bridge.peers import FORWARDED_FOR, Peers
from rest_bridge.peers import Address as PeerAddress
from rest_bridge.responses import bytes_of
from rest_bridge.routes import Route, RouteTable
from rest_bridge.surface import Surface


class Sheds(Protocol):
    """Tells what is not even begun."""

    def __call__(self, *, head: RawRequestMessage, peer: PeerAddress | None) -> bytes | None:
        """Return the whole answer to a request that is refused, or None: handle it."""


def sheds_nothing(*, head: RawRequestMessage, peer: PeerAddress | None) -> bytes | None:
    """Refuse nobody."""
    del head, peer
    return None


class Shedding:
    """Refuses webhooks and calls for which there is no room, while others wait already."""

    def __init__(
        self,
        *,
        table: RouteTable,
        admission: Admission,
        kinds: Kinds,
        peers: Peers,
        surface: Surface,
        counts: Counts,
        make_id: Callable[[], str],
        timer: Callable[[], float],
        budget_s: float,
    ) -> None:
        self._table = table
        self._admission = admission
        self._kinds = kinds
        self._peers = peers
        self._surface = surface
        self._counts = counts
        self._make_id = make_id
        self._timer = timer
        self._budget_s = budget_s
        self.answered: Answered = unanswered

    def __call__(self, *, head: RawRequestMessage, peer: PeerAddress | None) -> bytes | None:
        """Return the whole answer to a request that is refused, or None: handle it."""
        if not self._admission.waiting:
            return None
        started_s = self._timer()
        path, _, _ = head.path.partition("?")
        match = self._table.match(raw_path=path.encode("utf-8", "surrogateescape"))
        if match is None or head.method not in match.by_method:
            return None
        route, variables = match.by_method[head.method]
        if not self._may_come(route, head, peer):
            return None
        try:
            self._admission.check(
                kind=self._kinds.of(method=route.method, path=variables),
                vital=route.method.webhook,
                ends_at_s=started_s + self._budget_s,
            )
        except Overloaded as overload:
            return self._refusal(overload, route, head, started_s)
        return None

    def _may_come(self, route: Route, head: RawRequestMessage, peer: PeerAddress | None) -> bool:
        """Tell whether the address may ask; who may not hears so on the long way."""
        if not route.method.webhook:
            return not route.template.startswith(words.OPERATIONS)
        caller = self._peers.caller(peer=peer, forwarded=head.headers.getall(FORWARDED_FOR, []))
        return self._peers.may_call_webhooks(address=caller)

    def _refusal(
        self, overload: Overloaded, route: Route, head: RawRequestMessage, started_s: float
    ) -> bytes:
        self._counts.add(kind="shed", reason="webhook" if overload.vital else "other")
        reply = self._surface.overloaded(retry_after_s=overload.retry_after_s)
        given = head.headers.getall(words.REQUEST_ID, [])
        request_id = words.request_id_or(
            given=given[0] if len(given) == 1 else "", make=self._make_id
        )
        self.answered(
            method=head.method,
            route=route.template,
            status=reply.status,
            elapsed_s=self._timer() - started_s,
        )
        return bytes_of(reply=reply, request_id=request_id, version=head.version, stays=True)
