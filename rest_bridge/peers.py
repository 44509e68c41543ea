"""Who is calling, by address: the peer, or the one that a trusted proxy names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from chassis.settings import SettingError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED_FOR = "X-Forwarded-For"
_MAPPED_BITS = 96  # of ::ffff:0:0/96, an IPv4 address written as IPv6
_MAPPED = IPv6Network("::ffff:0:0/96")
_NEIGHBOURS_BITS = 64  # one household or machine is given a whole /64 of IPv6
_HOPS_LIMIT = 32  # more proxies than any road has: the rest is a stranger's


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Which networks are proxies of ours, which may call webhooks, and where operators sit."""

    trusted_proxies: Sequence[Network] = ()
    webhook_allow: Sequence[Network] = ()  # none: everyone
    operations_allow: Sequence[Network] = ()  # none: everyone

    def is_proxy(self, *, address: Address | None) -> bool:
        """Tell whether `address` may say on whose behalf it calls."""
        return _within(address, self.trusted_proxies)

    def may_call_webhooks(self, *, address: Address | None) -> bool:
        """Tell whether a webhook is taken from `address`; never from an unknown one."""
        return not self.webhook_allow or _within(address, self.webhook_allow)

    def may_operate(self, *, address: Address | None) -> bool:
        """Tell whether operators work from `address`; never from an unknown one."""
        return not self.operations_allow or _within(address, self.operations_allow)

    def caller(self, *, peer: Address | None, forwarded: Iterable[str]) -> Address | None:
        """Return the address that calls, or None where nobody we trust can say.

        `forwarded` are the values of `X-Forwarded-For` in their order. They are read from the
        right, each entry written by the hop to its right, and only as long as that hop is a
        proxy of ours: what stands further left is the caller's own claim.
        """
        if not self.is_proxy(address=peer):
            return peer
        entries = [entry.strip() for value in forwarded for entry in value.split(",")]
        address = peer
        for entry in entries[: -_HOPS_LIMIT - 1 : -1]:
            address = address_or_none(text=entry)
            if address is None or not self.is_proxy(address=address):
                return address
        return address if len(entries) <= _HOPS_LIMIT else None


def address_or_none(*, text: str) -> Address | None:
    """Return the address that `text` spells, with or without a port; None if it spells none.

    An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    host = text
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1 and "." in text:
        host, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    if "%" in host or not host.isascii():
        return None  # a zone is a word of the machine that wrote it
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return (found.version == 6 and found.ipv4_mapped) or found  # noqa: PLR2004


def neighbourhood(*, address: Address | None) -> str:
    """Return what is counted as one caller: an IPv4 address, or the /64 of an IPv6 one."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _NEIGHBOURS_BITS), strict=False))
    return str(address)


def networks(*, name: str, text: str) -> tuple[Network, ...]:
    """Return the addresses and CIDR networks of the variable `name`, separated by commas.

    :raises SettingError: one is neither, or has bits set beyond its prefix.
    """
    if not text.strip():
        return ()
    return tuple(_network(name, part.strip()) for part in text.split(","))


def refuse_everyone(*, name: str, found: Iterable[Network]) -> None:
    """Return if no network of `found` is the whole internet.

    :raises SettingError: one is; then every stranger could choose the address to call from.
    """
    if any(one.prefixlen == 0 for one in found):
        raise SettingError(f"{name}: must not contain a network of everyone (/0)")


def _network(name: str, text: str) -> Network:
    try:
        if "%" in text:
            raise ValueError("a zone is a word of one machine")  # noqa: TRY301 # one refusal below
        found = ip_network(text)
    except ValueError as problem:
        beyond = "host bits" in str(problem)
        fault = "has bits set beyond its prefix" if beyond else "is no address or CIDR network"
        raise SettingError(f"{name}: {text!r} {fault}") from None
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        mapped = found.network_address.ipv4_mapped
        return IPv4Network((str(mapped), found.prefixlen - _MAPPED_BITS))
    return found


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return text != digits and digits.isascii() and digits.isdigit() and len(digits) <= 5  # noqa: PLR2004


def _within(address: Address | None, among: Iterable[Network]) -> bool:
    return address is not None and any(
        address.version == one.version and address in one for one in among
    )
