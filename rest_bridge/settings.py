"""What the bridge is told by its environment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.settings import Address, SettingError, Variables

_LISTEN = "127.0.0.1:8080,127.0.0.1:8081"  # the specification's two ports; both serve everything
_TARGETS = {"GATEWAY": "127.0.0.1:50051", "KHQR": "127.0.0.1:50052"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORLDS = ("development", "production")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one bridge."""

    environment: str
    listen: tuple[Address, ...]
    contracts_file: Path | None
    log_level: str


def read_settings(*, variables: Variables) -> Settings:
    """Return the settings that `variables` hold.

    :raises SettingError: a value cannot be used.
    """
    contracts = variables.text("CONTRACTS_FILE", default="")
    return Settings(
        environment=variables.choice("ENVIRONMENT", choices=_WORLDS, default=_WORLDS[0]),
        listen=variables.addresses("BRIDGE_LISTEN", default=_LISTEN),
        contracts_file=Path(contracts) if contracts else None,
        log_level=variables.choice("LOG_LEVEL", choices=_LEVELS, default="INFO"),
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
