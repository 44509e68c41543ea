"""What the bridge is told by its environment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.settings import Address, SettingError, Variables
from rest_bridge.peers import Peers, networks, refuse_everyone

_LISTEN = "127.0.0.1:8080,127.0.0.1:8081"  # the specification's two ports; both serve everything
_TARGETS = {"GATEWAY": "127.0.0.1:50051", "KHQR": "127.0.0.1:50052"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORLDS = ("development", "production")
_CONNECTIONS = 1000  # in all; beyond 90 % idle ones make room for newcomers
_PER_ADDRESS = 500  # half: one address cannot take every place
_CALLS = 256  # under way at once: a quarter of a second of work at 1000 calls a second


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much the bridge takes in at once."""

    connections: int = _CONNECTIONS
    per_address: int = _PER_ADDRESS
    calls: int = _CALLS


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one bridge."""

    environment: str
    listen: tuple[Address, ...]
    contracts_file: Path | None
    log_level: str
    limits: Limits
    peers: Peers


def read_settings(*, variables: Variables) -> Settings:
    """Return the settings that `variables` hold.

    :raises SettingError: a value cannot be used.
    """
    contracts = variables.text("CONTRACTS_FILE", default="")
    environment = variables.choice("ENVIRONMENT", choices=_WORLDS, default=_WORLDS[0])
    peers = _read_peers(variables)
    if environment == "production" and not peers.webhook_allow:
        raise SettingError("WEBHOOK_ALLOW: is required in production (0.0.0.0/0,::/0 is everyone)")
    return Settings(
        environment=environment,
        listen=variables.addresses("BRIDGE_LISTEN", default=_LISTEN),
        contracts_file=Path(contracts) if contracts else None,
        log_level=variables.choice("LOG_LEVEL", choices=_LEVELS, default="INFO"),
        limits=_read_limits(variables),
        peers=peers,
    )


def read_targets(*, variables: Variables, names: Iterable[str]) -> Mapping[str, str]:
    """Return where each service of the contracts is reached, by its name in capitals.

    :raises SettingError: a service beyond the known ones has no `<NAME>_TARGET`, or a target
        holds a blank.
    """
    found = {}
    for name in names:
        target = variables.text(f"{name}_TARGET", default=_TARGETS.get(name))
        if any(one.isspace() for one in target):
            raise SettingError(f"{name}_TARGET: must be host:port or a gRPC name, without blanks")
        found[name] = target
    return found


def _read_limits(variables: Variables) -> Limits:
    connections = variables.integer(
        "BRIDGE_CONNECTIONS", default=_CONNECTIONS, least=10, most=100_000
    )
    return Limits(
        connections=connections,
        per_address=variables.integer(
            "BRIDGE_CONNECTIONS_PER_ADDRESS",
            default=min(_PER_ADDRESS, connections),
            least=1,
            most=connections,
        ),
        calls=variables.integer("BRIDGE_CALLS", default=_CALLS, least=4, most=10_000),
    )


def _read_peers(variables: Variables) -> Peers:
    trusted = networks(name="TRUSTED_PROXIES", text=variables.text("TRUSTED_PROXIES", default=""))
    refuse_everyone(name="TRUSTED_PROXIES", found=trusted)
    allow = networks(name="WEBHOOK_ALLOW", text=variables.text("WEBHOOK_ALLOW", default=""))
    return Peers(trusted_proxies=trusted, webhook_allow=allow)
