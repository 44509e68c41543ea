"""What the bridge is told by its environment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.metrics import metrics_listen
from chassis.open_channel import read_streams
from chassis.plaintext import is_loopback, refuse_plaintext
from chassis.settings import Address, SettingError, Variables
from chassis.tls import (
    TlsFiles,
    read_client_tls,
    read_server_tls,
    server_name_of,
)
from chassis.tracing import otlp_endpoint
from rest_bridge.peers import Peers, networks, refuse_everyone

_LISTEN = "127.0.0.1:8080,127.0.0.1:8081"  # the specification's two ports; both serve everything
_TARGETS = {"GATEWAY": "127.0.0.1:50051", "KHQR": "127.0.0.1:50052"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_PRODUCTION = "production"
_WORLDS = ("development", _PRODUCTION)
_CONNECTIONS = 1000  # in all; beyond 90 % idle ones make room for newcomers
_PER_ADDRESS = 500  # half: one address cannot take every place
_CALLS = 256  # under way at once: a quarter of a second of work at 1000 calls a second

_ACCESS_LOG_EVERY = 1000  # at 1,000 requests a second, a line a second


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much the bridge takes in at once, and over how many streams it goes on to a service."""

    connections: int = _CONNECTIONS
    per_address: int = _PER_ADDRESS
    calls: int = _CALLS
    streams: int = 1  # 0: each call travels alone
    access_log_every: int = 0  # requests for one line; 0: no line


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one bridge."""

    environment: str
    listen: tuple[Address, ...]
    contracts_file: Path | None
    log_level: str
    tls: TlsFiles | None
    limits: Limits
    peers: Peers
    metrics_listen: Address | None  # None: nobody asks
    otlp_endpoint: str | None  # where traces go; None: nowhere
    shares_ports: bool  # other bridges listen on the same ports


def read_settings(*, variables: Variables) -> Settings:
    """Return the settings that `variables` hold.

    :raises SettingError: a value cannot be used.
    """
    contracts = variables.text("CONTRACTS_FILE", default="")
    environment = variables.choice("ENVIRONMENT", choices=_WORLDS, default=_WORLDS[0])
    peers = _read_peers(variables)
    if environment == _PRODUCTION and not peers.webhook_allow:
        raise SettingError("WEBHOOK_ALLOW: is required in production (0.0.0.0/0,::/0 is everyone)")
    return Settings(
        environment=environment,
        listen=variables.addresses("BRIDGE_LISTEN", default=_LISTEN),
        contracts_file=Path(contracts) if contracts else None,
        log_level=variables.choice("LOG_LEVEL", choices=_LEVELS, default="INFO"),
        tls=read_server_tls(
            variables=variables, name="BRIDGE", production=environment == _PRODUCTION
        ),
        limits=_read_limits(variables),
        peers=peers,
        otlp_endpoint=otlp_endpoint(variables=variables),
        metrics_listen=metrics_listen(variables, service="BRIDGE"),
        shares_ports=variables.choice("BRIDGE_SHARES_PORTS", choices=("no", "yes"), default="no")
        == "yes",
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


@dataclass(frozen=True, kw_only=True)
class ClientTls:
    """How the services behind are met: the files, and whom their certificates speak for."""

    files: TlsFiles
    server_names: Mapping[str, str]  # by service in capitals, "" for its target's own


def read_client(
    *, variables: Variables, targets: Mapping[str, str], environment: str
) -> ClientTls | None:
    """Return how `targets` are met, None for plain text.

    :raises SettingError: a file cannot be used, or production would speak plainly to another
        machine.
    """
    production = environment == _PRODUCTION
    files = read_client_tls(variables=variables, production=production)
    if files is None:
        if production:
            places = [(f"{name}_TARGET", target) for name, target in targets.items()]
            refuse_plaintext(variables=variables, places=places)
        return None
    return ClientTls(
        files=files,
        server_names={name: server_name_of(variables=variables, name=name) for name in targets},
    )


def plain_http_places(*, settings: Settings) -> Sequence[str]:
    """Return the addresses where production takes tokens in clear from beyond this machine.

    They are told in the log, not refused: what stands in front of the bridge often ends TLS.
    """
    if settings.environment != _PRODUCTION or settings.tls is not None:
        return ()
    return tuple(str(one) for one in settings.listen if not is_loopback(target=str(one)))


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
        streams=read_streams(variables=variables),
        access_log_every=variables.integer(
            "ACCESS_LOG_EVERY", default=_ACCESS_LOG_EVERY, least=0, most=1_000_000_000
        ),
    )


def _read_peers(variables: Variables) -> Peers:
    trusted = networks(name="TRUSTED_PROXIES", text=variables.text("TRUSTED_PROXIES", default=""))
    refuse_everyone(name="TRUSTED_PROXIES", found=trusted)
    allow = networks(name="WEBHOOK_ALLOW", text=variables.text("WEBHOOK_ALLOW", default=""))
    operators = networks(
        name="OPERATIONS_ALLOW", text=variables.text("OPERATIONS_ALLOW", default="")
    )
    return Peers(trusted_proxies=trusted, webhook_allow=allow, operations_allow=operators)
