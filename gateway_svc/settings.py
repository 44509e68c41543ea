"""Names and defaults of the gateway's variables, and what production refuses."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from chassis.publisher import KafkaOptions
from chassis.settings import Address, SettingError, Variables
from gateway_svc.banks.configuration import BankConfig, read_banks, texts_of
from gateway_svc.completer import PollPlan

_LAPTOP_BANKS = Path(__file__).parent / "banks" / "laptop.toml"

# The two credentials that the specification once printed in clear, by the SHA-256 of their
# UTF-8 text: whoever holds that document can use them.
_DISCLOSED = frozenset(
    {
        "1b960cc38d6433d8bc33b585e5ef2f9ff57ede2d83e73a4451e68e492d7b1d39",
        "a048310b4e5eede6d2723b0d11322c9ef92ffb6221067d16d2046e36f94725c4",
    }
)
_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_EXAMPLES = ("changeme", "change-me", "example", "secret", "password", "postgres")


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything the gateway is told from outside."""

    production: bool
    listen: Address
    database_url: str
    events_url: str
    kafka: KafkaOptions
    topic_prefix: str
    integration_url: str
    banks: Mapping[str, BankConfig]
    jwt_keys_file: Path
    jwt_issuer: str
    jwt_audience: str
    log_level: str
    var_dir: Path
    budget_s: float = 5.0  # the whole of an inbound call (specification: "5 seconds max")
    drain_s: float = 8.0  # longer than any call, shorter than an orchestrator's patience
    integration_timeout_s: float = 2.0
    polls: PollPlan = field(default_factory=PollPlan)
    first_pause: timedelta = timedelta(seconds=5)  # before a notice is asked about again


def read_settings(*, variables: Variables, environ: Mapping[str, str]) -> GatewaySettings:
    """Return the settings that `variables` state.

    :raises SettingError: one is missing or wrong, or is not allowed in production.
    """
    environment = variables.choice(
        "ENVIRONMENT", choices=("development", "production"), default="development"
    )
    production = environment == "production"
    var_dir = variables.path("VAR_DIR", default=Path("var"))
    banks_file = variables.path("BANKS_FILE", default=None if production else _LAPTOP_BANKS)
    settings = GatewaySettings(
        production=production,
        listen=variables.address("GATEWAY_LISTEN", default="127.0.0.1:50051"),
        database_url=variables.url(
            "DATABASE_URL",
            default=f"sqlite+aiosqlite:///{var_dir}/gateway.sqlite",
            schemes=("postgresql+asyncpg", "sqlite+aiosqlite"),
        ),
        events_url=variables.url("EVENTS_URL", default="log://", schemes=("log", "kafka")),
        kafka=_kafka_options(variables),
        topic_prefix=_topic_prefix(variables),
        integration_url=variables.url(
            "INTEGRATION_URL",
            default=None if production else "http://127.0.0.1:8687",
            schemes=("http", "https"),
        ),
        banks=read_banks(
            path=banks_file, variables=variables, var_dir=var_dir, production=production
        ),
        jwt_keys_file=variables.path("JWT_KEYS_FILE", default=var_dir / "keys" / "jwks.json"),
        jwt_issuer=variables.text("JWT_ISSUER", default="payment-gateway"),
        jwt_audience=variables.text("JWT_AUDIENCE", default="payment-gateway"),
        log_level=variables.choice(
            "LOG_LEVEL", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"
        ),
        var_dir=var_dir,
    )
    _refuse_disclosed(environ, banks_file)
    if production:
        _refuse_in_production(settings)
    return settings


def _topic_prefix(variables: Variables) -> str:
    prefix = variables.text("TOPIC_PREFIX", default="dev")
    if not _TOPIC_PREFIX.fullmatch(prefix):
        raise SettingError("TOPIC_PREFIX: must be 1 to 100 letters, digits, '.', '_' or '-'")
    return prefix


def _kafka_options(variables: Variables) -> KafkaOptions:
    def file(name: str) -> Path | None:
        value = variables.text(name, default="")
        return Path(value) if value else None

    return KafkaOptions(
        security_protocol=variables.choice(
            "KAFKA_SECURITY_PROTOCOL",
            choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
            default="PLAINTEXT",
        ),
        sasl_mechanism=variables.choice(
            "KAFKA_SASL_MECHANISM",
            choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
            default="PLAIN",
        ),
        sasl_username=variables.text("KAFKA_SASL_USERNAME", default="") or None,
        sasl_password=variables.text("KAFKA_SASL_PASSWORD", default="") or None,
        ca_file=file("KAFKA_CA_PATH"),
        certificate_file=file("KAFKA_CERTIFICATE_PATH"),
        key_file=file("KAFKA_KEY_PATH"),
    )


def _refuse_in_production(settings: GatewaySettings) -> None:
    if settings.database_url.startswith("sqlite"):
        raise SettingError("DATABASE_URL: production needs PostgreSQL, not a SQLite file")
    if settings.events_url.startswith("log"):
        raise SettingError("EVENTS_URL: production needs kafka://, not log://")
    password = settings.database_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    if password.lower() in _EXAMPLES:
        raise SettingError("DATABASE_URL: its password is an example, not a secret")


def _refuse_disclosed(environ: Mapping[str, str], banks_file: Path) -> None:
    """Refuse a disclosed credential wherever it stands, on a laptop too."""
    for name, value in environ.items():
        if name.endswith("_FILE") and name != "BANKS_FILE" and _is_small_file(value):
            text = Path(value).read_text(encoding="utf-8", errors="replace").rstrip("\r\n")
            _refuse_one(name, [text])
        _refuse_one(name, [value])
    document = tomllib.loads(banks_file.read_text(encoding="utf-8"))
    _refuse_one("BANKS_FILE", texts_of(document))


def _refuse_one(name: str, values: Iterable[str]) -> None:
    for value in values:
        if hashlib.sha256(value.encode(errors="replace")).hexdigest() in _DISCLOSED:
            raise SettingError(f"{name}: holds a credential that was disclosed; have it replaced")


def _is_small_file(path: str) -> bool:
    try:
        return Path(path).stat().st_size <= 1 << 16
    except OSError:
        return False
