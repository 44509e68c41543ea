"""Who is calling: the peer, or whom a proxy of ours names; nobody's own claim.

| peer | X-Forwarded-For | the caller is |
|---|---|---|
| a stranger | anything | the stranger |
| a proxy of ours | none | the proxy |
| a proxy of ours | read from the right, past our own proxies | the first that is none of ours |
| a proxy of ours | an entry that is no address, met on the way | nobody: refused |
"""

from ipaddress import ip_address

import pytest

from chassis.settings import SettingError, Variables
from rest_bridge.peers import Peers, address_or_none, neighbourhood, networks
from rest_bridge.settings import read_settings

TRUSTED = "10.0.0.0/8, fd00::/8"
PEERS = Peers(
    trusted_proxies=networks(name="T", text=TRUSTED),
    webhook_allow=networks(name="W", text="203.0.113.0/24,2001:db8::/32,198.51.100.7"),
)
PROXY, STRANGER, BANK = "10.0.0.1", "192.0.2.66", "203.0.113.9"
# peer, X-Forwarded-For lines -> the caller
CALLERS: list[tuple[str, list[str], str | None]] = [
    (STRANGER, [], STRANGER),
    (STRANGER, [BANK], STRANGER),
    (STRANGER, [f"{BANK}, {PROXY}"], STRANGER),
    (BANK, [STRANGER], BANK),
    (f"::ffff:{STRANGER}", [BANK], STRANGER),
    (PROXY, [], PROXY),
    (PROXY, [BANK], BANK),
    (f"::ffff:{PROXY}", [BANK], BANK),
    ("fd00::1", [BANK], BANK),
    (PROXY, [f"{BANK}, {STRANGER}"], STRANGER),
    (PROXY, [f"{BANK},{STRANGER},10.9.9.9"], STRANGER),
    (PROXY, [BANK, STRANGER], STRANGER),
    (PROXY, [BANK, "10.2.2.2"], BANK),
    (PROXY, ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
    (PROXY, [f"nonsense, {BANK}"], BANK),
    (PROXY, [f"{BANK}, nonsense"], None),
    (PROXY, ["nonsense"], None),
    (PROXY, [""], None),
    (PROXY, [f"{BANK},"], None),
    (PROXY, [f"{BANK}, , 10.2.2.2"], None),
    (PROXY, ["unknown"], None),
    (PROXY, ["_hidden"], None),
    (PROXY, [f"for={BANK}"], None),
    (PROXY, [f"{BANK}:4711"], BANK),
    (PROXY, [f"{BANK}:port"], None),
    (PROXY, [f"{BANK}:"], None),
    (PROXY, ["[2001:db8::1]:4711"], "2001:db8::1"),
    (PROXY, ["[2001:db8::1]"], "2001:db8::1"),
    (PROXY, ["[2001:db8::1"], None),
    (PROXY, ["2001:db8::1"], "2001:db8::1"),
    (PROXY, [f"::ffff:{BANK}"], BANK),
    (PROXY, ["fe80::1%eth0"], None),
    (PROXY, ["203.0.113.009"], None),
    (PROXY, ["0xcb007109"], None),
    (PROXY, ["3405803785"], None),
    (PROXY, ["٢٠٣.0.113.9"], None),
    (PROXY, ["203.0.113.0/24"], None),
    (PROXY, [", ".join([BANK] + ["10.2.2.2"] * 31)], BANK),
    (PROXY, [", ".join([BANK] + ["10.2.2.2"] * 32)], None),
    (PROXY, ["10.2.2.2," * 5000 + "10.2.2.2"], None),
]
# address -> may it call webhooks?
ALLOWED = [
    (BANK, True),
    ("198.51.100.7", True),
    ("198.51.100.8", False),
    ("2001:db8:ffff::1", True),
    ("2001:db9::1", False),
    (STRANGER, False),
    ("::1", False),
    (None, False),
]
# the value -> what the one line says
WRONG = {
    "nonsense": "'nonsense' is no address or CIDR network",
    "10.0.0.1/8": "'10.0.0.1/8' has bits set beyond its prefix",
    "10.0.0.0/33": "'10.0.0.0/33' is no address or CIDR network",
    "10.0.0.0/8,": "'' is no address or CIDR network",
    "bank.example": "'bank.example' is no address or CIDR network",
    "10.0.0.0-10.0.0.9": "'10.0.0.0-10.0.0.9' is no address or CIDR network",
    "010.0.0.1": "'010.0.0.1' is no address or CIDR network",
    "fe80::1%eth0": "'fe80::1%eth0' is no address or CIDR network",
}


@pytest.mark.parametrize(("peer", "forwarded", "caller"), CALLERS)
def test_the_caller_is_never_who_it_says_it_is(
    peer: str, forwarded: list[str], caller: str | None
) -> None:
    found = PEERS.caller(peer=address_or_none(text=peer), forwarded=forwarded)
    assert found == (None if caller is None else ip_address(caller))


@pytest.mark.parametrize("forwarded", [[], [BANK], [f"{BANK}, {PROXY}"]])
def test_without_trusted_proxies_nobody_is_believed(forwarded: list[str]) -> None:
    peer = ip_address(PROXY)
    assert Peers().caller(peer=peer, forwarded=forwarded) == peer
    assert Peers().caller(peer=None, forwarded=forwarded) is None


@pytest.mark.parametrize(("address", "allowed"), ALLOWED)
def test_webhooks_are_taken_from_the_list_alone(address: str | None, allowed: bool) -> None:
    found = None if address is None else ip_address(address)
    assert PEERS.may_call_webhooks(address=found) is allowed
    assert Peers().may_call_webhooks(address=found), "an empty list is everyone"


def test_a_network_of_mapped_addresses_is_a_network_of_ipv4() -> None:
    (found,) = networks(name="W", text="::ffff:203.0.113.0/120")
    assert str(found) == "203.0.113.0/24"


@pytest.mark.parametrize("name", ["WEBHOOK_ALLOW", "TRUSTED_PROXIES"])
@pytest.mark.parametrize(("value", "line"), WRONG.items())
def test_a_wrong_value_is_refused_in_one_line_that_names_the_variable(
    name: str, value: str, line: str
) -> None:
    with pytest.raises(SettingError) as refusal:
        read_settings(variables=Variables(environ={name: value}))
    assert str(refusal.value) == f"{name}: {line}"


@pytest.mark.parametrize("value", ["0.0.0.0/0", "::/0", "10.0.0.0/8,::/0", "::ffff:0:0/96"])
def test_nobody_trusts_everyone(value: str) -> None:
    with pytest.raises(SettingError, match="TRUSTED_PROXIES: must not contain"):
        read_settings(variables=Variables(environ={"TRUSTED_PROXIES": value}))
    read_settings(variables=Variables(environ={"WEBHOOK_ALLOW": value}))


def test_an_ipv6_caller_is_counted_by_its_64() -> None:
    one, other = ip_address("2001:db8:0:1::1"), ip_address("2001:db8:0:1:ffff::2")
    assert neighbourhood(address=one) == neighbourhood(address=other)
    assert neighbourhood(address=one) != neighbourhood(address=ip_address("2001:db8:0:2::1"))
    assert neighbourhood(address=ip_address(BANK)) == BANK
