"""How many connections there may be.

| when | then |
|---|---|
| the bridge is full | a newcomer is told 503 with Retry-After, at once, and the connection ends |
| one address has its share | so is it, and everyone else comes in |
| the address is a trusted proxy's | it has no share of its own |
| nine tenths are taken | the connection that is idle for longest makes room for each newcomer |
| all are taken, none is idle | one that has been silent for a second makes room |
| someone leaves | there is room |
"""

import asyncio
import resource
from ipaddress import ip_address

import pytest

from chassis.settings import SettingError
from rest_bridge.connections import Connections
from rest_bridge.counts import Counts
from rest_bridge.peers import Address, Peers, networks
from rest_bridge.service import allow_descriptors
from rest_bridge.settings import Limits
from tests.rest_bridge.fakes import Stage, served
from tests.rest_bridge.wire import PATIENCE_S, Heard, connected, heard, post

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PEERS = Peers(trusted_proxies=networks(name="T", text="10.0.0.0/8"))


class FakeGuest:
    """A connection that notes why it was cut."""

    def __init__(self, peer: str = "192.0.2.1") -> None:
        self.peer: Address | None = ip_address(peer)
        self.why = ""
        self.overdue = ""

    def cut(self, *, reason: str) -> None:
        self.why = reason

    def check(self, *, now_s: float) -> str:
        assert now_s
        return self.overdue


def table(*, limit: int = 10, per_address: int = 10) -> Connections:
    return Connections(limit=limit, per_address=per_address, peers=PEERS, counts=Counts())


def full(connections: Connections, *, guests: int = 10) -> list[FakeGuest]:
    """Let guests in that all have asked something."""
    found = [FakeGuest(f"192.0.2.{number}") for number in range(guests)]
    for guest in found:
        assert connections.enter(guest=guest, now_s=100)
        connections.is_busy(guest=guest)
    return found


def test_there_is_room_up_to_the_limit_and_again_when_someone_leaves() -> None:
    connections = table()
    guests = full(connections)
    late = FakeGuest("192.0.2.99")
    assert not connections.enter(guest=late, now_s=100)
    assert connections._counts.values["connections_refused", "total"] == 1
    connections.leave(guest=guests[3])
    assert connections.enter(guest=late, now_s=100)
    assert [guest.why for guest in guests] == [""] * 10


def test_leaving_twice_gives_one_place_free() -> None:
    connections = table()
    guests = full(connections)
    for _ in range(2):
        connections.leave(guest=guests[0])
    assert len(connections) == 9
    assert connections.enter(guest=FakeGuest("192.0.2.0"), now_s=100)
    assert not connections.enter(guest=FakeGuest("192.0.2.0"), now_s=100)


@pytest.mark.parametrize(
    ("addresses", "taken"),
    [
        (["192.0.2.1"] * 4, 3),
        (["192.0.2.1"] * 3 + ["192.0.2.2"], 4),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"], 3),
        (["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1", "2001:db8:0:4::1"], 4),
        (["10.0.0.1"] * 6, 6),
    ],
)
def test_one_address_has_its_share_and_a_proxy_has_none(addresses: list[str], taken: int) -> None:
    connections = table(limit=100, per_address=3)
    entered = [connections.enter(guest=FakeGuest(one), now_s=1) for one in addresses]
    assert sum(entered) == taken
    refused = connections._counts.values["connections_refused", "per_address"]
    assert refused == len(addresses) - taken


def test_what_an_address_gives_back_it_may_take_again() -> None:
    connections = table(per_address=1)
    first = FakeGuest()
    assert connections.enter(guest=first, now_s=1)
    assert not connections.enter(guest=FakeGuest(), now_s=1)
    connections.leave(guest=first)
    assert connections.enter(guest=FakeGuest(), now_s=1)
    assert set(connections._by_address.values()) == {1}, "nothing is remembered of who has left"


def test_near_the_limit_the_longest_idle_makes_room() -> None:
    connections = table()
    guests = full(connections, guests=9)
    for number in (4, 2, 7):
        connections.is_idle(guest=guests[number])
    connections.is_busy(guest=guests[4])
    assert connections.enter(guest=FakeGuest("192.0.2.77"), now_s=100)
    assert [number for number, one in enumerate(guests) if one.why] == [2]
    assert guests[2].why == "made_room"
    assert connections.enter(guest=FakeGuest("192.0.2.78"), now_s=100)
    assert [number for number, one in enumerate(guests) if one.why] == [2, 7]


def test_below_that_nobody_is_sent_away() -> None:
    connections = table()
    guests = full(connections, guests=8)
    connections.is_idle(guest=guests[0])
    assert connections.enter(guest=FakeGuest("192.0.2.77"), now_s=100)
    assert guests[0].why == ""


@pytest.mark.parametrize(("now_s", "enters"), [(100.9, False), (101.1, True)])
def test_a_silent_connection_makes_room_after_a_second(now_s: float, enters: bool) -> None:
    connections = table()
    guests = [FakeGuest(f"192.0.2.{number}") for number in range(10)]
    for guest in guests:
        connections.enter(guest=guest, now_s=100)
    connections.is_busy(guest=guests[0])
    assert connections.enter(guest=FakeGuest("192.0.2.99"), now_s=now_s) is enters
    assert [number for number, one in enumerate(guests) if one.why] == ([1] if enters else [])


def test_only_so_many_are_told_why_they_are_turned_away() -> None:
    connections = table()
    guests = [FakeGuest() for _ in range(65)]
    assert [connections.turn_away(guest=one) for one in guests] == [True] * 64 + [False]
    connections.leave(guest=guests[0])
    assert connections.turn_away(guest=guests[64])


def test_a_sweep_asks_everyone_and_says_how_many_had_to_go() -> None:
    connections = table()
    guests = full(connections, guests=3)
    guests[1].overdue = "idle"
    stranger = FakeGuest()
    stranger.overdue = "turned_away"
    connections.turn_away(guest=stranger)
    assert connections.run_once(now_s=1) == 2


def test_the_limit_of_open_files_is_raised_or_the_start_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: asked.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    allow_descriptors(connections=500)
    assert asked == []
    allow_descriptors(connections=1000)
    assert asked == [(1200, 4096)]
    with pytest.raises(SettingError, match="BRIDGE_CONNECTIONS: 4000 need 4200 open files"):
        allow_descriptors(connections=4000)


async def asked(stage: Stage) -> tuple[Heard | None, bytes]:
    """Tell something over a new connection; return the answer and what comes after it."""
    async with asyncio.timeout(PATIENCE_S), connected(stage.address) as (reader, writer):
        writer.write(post(b"NEW", extra=b"Connection: close\r\n"))
        return await heard(reader), await reader.read()


async def test_who_finds_no_room_is_told_so_and_comes_in_when_there_is_some() -> None:
    async with asyncio.timeout(PATIENCE_S), served(limits=Limits(connections=12)) as stage:
        held = []
        for _ in range(12):
            reader, writer = await asyncio.open_connection(stage.address.host, stage.address.port)
            writer.write(LIVEZ[:-2])  # busy: its head is not complete
            held.append((reader, writer))
        for _ in range(100):
            answer, rest = await asked(stage)
            assert answer is not None
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Connection"] == "close"
            assert answer.headers["X-Request-ID"]
            assert answer.error["code"] == "SERVER_UNAVAILABLE"
            assert rest == b""
        assert stage.gateway.requests == []
        assert stage.running.counts.values["connections_refused", "total"] == 100
        for reader, writer in held:
            writer.write(b"\r\n")
            answer = await heard(reader)
            assert answer is not None
            assert answer.status == 200, "those inside are served"
        answer, _ = await asked(stage)
        assert answer is not None
        assert answer.status == 200, "an idle one made room"
        assert len(stage.gateway.requests) == 1
        for _, writer in held:
            writer.transport.abort()


async def test_one_address_may_not_take_every_place() -> None:
    limits = Limits(connections=50, per_address=2)
    async with asyncio.timeout(PATIENCE_S), served(limits=limits) as stage:
        async with connected(stage.address) as (_, one), connected(stage.address) as (_, other):
            one.write(LIVEZ[:-2])
            other.write(LIVEZ[:-2])
            answer, _ = await asked(stage)
            assert answer is not None
            assert answer.status == 503
        proxies = Peers(trusted_proxies=networks(name="T", text="127.0.0.0/8"))
    async with (
        asyncio.timeout(PATIENCE_S),
        served(limits=limits, peers=proxies) as stage,
        connected(stage.address),
        connected(stage.address),
    ):
        answer, _ = await asked(stage)
        assert answer is not None
        assert answer.status == 200


async def test_one_that_is_turned_away_and_says_nothing_is_cut() -> None:
    async with asyncio.timeout(PATIENCE_S), served(limits=Limits(connections=1)) as stage:
        async with connected(stage.address) as (_, first):
            first.write(LIVEZ[:-2])
            async with connected(stage.address) as (reader, _):
                assert await reader.read() == b""
        assert stage.running.counts.values["connections_closed", "turned_away"] == 1


async def test_a_flood_of_connections_leaves_no_descriptor_behind() -> None:
    async with asyncio.timeout(2 * PATIENCE_S), served(limits=Limits(connections=20)) as stage:
        flood = [
            await asyncio.open_connection(stage.address.host, stage.address.port)
            for _ in range(300)
        ]
        open_now = len(stage.running.server.connections)
        assert open_now <= 20
        for _, writer in flood:
            writer.transport.abort()
        while len(stage.running.server._house.connections):  # noqa: ASYNC110 # seen from outside
            await asyncio.sleep(0.01)
        answer, _ = await asked(stage)
        assert answer is not None
        assert answer.status == 200
