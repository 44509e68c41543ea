"""Names and defaults of the gateway's variables, and what production refuses."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from chassis.database import Database
from chassis.kafka import KafkaOptions
from chassis.metrics import metrics_listen
from chassis.plaintext import refuse_plaintext
from chassis.publisher import publisher_from_url
from chassis.secrets import refuse_disclosed, texts_of_document, texts_of_environ
from chassis.settings import Address, SettingError, Variables
from chassis.tls import (
    TlsFiles,
    read_server_tls,
)
from chassis.tracing import otlp_endpoint
from gateway_svc.banks.configuration import BankConfig, read_banks, read_document
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
_PAUSE = {"least": 1, "most": 3600}
_EXAMPLES = ("changeme", "change-me", "example", "secret", "password", "postgres")


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything the gateway is told from outside."""

    production: bool
    listen: Address
    tls: TlsFiles | None
    database_url: str = field(repr=False)  # holds a password
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
    inquiries_per_minute: int  # of one subject
    metrics_listen: Address | None  # None: nobody asks
    otlp_endpoint: str | None  # where traces go; None: nowhere
    crash_points_dir: Path | None  # where a drill says at which point to die; never in production
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
    document = read_document(
        variables.path("BANKS_FILE", default=None if production else _LAPTOP_BANKS)
    )
    settings = GatewaySettings(
        production=production,
        listen=variables.address("GATEWAY_LISTEN", default="127.0.0.1:50051"),
        tls=read_server_tls(variables=variables, name="GATEWAY", production=production),
        database_url=database_url(variables),
        events_url=events_url(variables),
        kafka=kafka_options(variables),
        topic_prefix=topic_prefix(variables),
        integration_url=variables.url(
            "INTEGRATION_URL",
            default=None if production else "http://127.0.0.1:8687",
            schemes=("http", "https"),
        ),
        banks=read_banks(
            document=document,
            variables=variables,
            environ=environ,
            var_dir=var_dir,
            production=production,
        ),
        jwt_keys_file=variables.path("JWT_KEYS_FILE", default=var_dir / "keys" / "jwks.json"),
        jwt_issuer=variables.text("JWT_ISSUER", default="payment-gateway"),
        jwt_audience=variables.text("JWT_AUDIENCE", default="payment-gateway"),
        log_level=variables.choice(
            "LOG_LEVEL", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"
        ),
        var_dir=var_dir,
        inquiries_per_minute=variables.integer(
            "INQUIRIES_PER_MINUTE", default=100, least=1, most=1_000_000
        ),
        polls=PollPlan(
            first=timedelta(seconds=variables.integer("POLL_FIRST_S", default=20, **_PAUSE)),
            longest=timedelta(seconds=variables.integer("POLL_LONGEST_S", default=300, **_PAUSE)),
        ),
        metrics_listen=metrics_listen(variables, service="GATEWAY"),
        otlp_endpoint=otlp_endpoint(variables=variables),
        crash_points_dir=_crash_points_dir(variables, production=production),
    )
    # A disclosed credential is refused wherever it stands, on a laptop too.
    refuse_disclosed(texts=texts_of_environ(environ), digests=_DISCLOSED)
    refuse_disclosed(texts=variables.unsealed_texts(), digests=_DISCLOSED)
    refuse_disclosed(texts=texts_of_document(document, name="BANKS_FILE"), digests=_DISCLOSED)
    refuse_disclosed(texts=_bank_keys(settings), digests=_DISCLOSED)
    _refuse_unusable_urls(settings)
    if production:
        _refuse_in_production(settings)
        if settings.tls is None:
            places = [("GATEWAY_LISTEN", str(settings.listen))]
            refuse_plaintext(variables=variables, places=places)
    return settings


def _refuse_unusable_urls(settings: GatewaySettings) -> None:
    """Return if the parts that get the two URLs can read them; nothing is connected."""
    try:
        Database(url=settings.database_url)
    except ValueError as problem:
        raise SettingError(f"DATABASE_URL: {problem}") from None
    try:
        publisher_from_url(
            url=settings.events_url, var_dir=settings.var_dir, options=settings.kafka
        )
    except ValueError as problem:
        raise SettingError(f"EVENTS_URL: {problem}") from None


def _crash_points_dir(variables: Variables, *, production: bool) -> Path | None:
    value = variables.text("CRASH_POINTS_DIR", default="")
    if value and production:
        raise SettingError("CRASH_POINTS_DIR: is for drills; production has no point to die at")
    return Path(value) if value else None


def database_url(variables: Variables) -> str:
    """Return where the one database is.

    :raises SettingError: it is neither PostgreSQL nor a SQLite file.
    """
    var_dir = variables.path("VAR_DIR", default=Path("var"))
    return variables.url(
        "DATABASE_URL",
        default=f"sqlite+aiosqlite:///{var_dir}/gateway.sqlite",
        schemes=("postgresql+asyncpg", "sqlite+aiosqlite"),
    )


def events_url(variables: Variables) -> str:
    """Return where events go.

    :raises SettingError: it is neither the log nor Kafka.
    """
    return variables.url("EVENTS_URL", default="log://", schemes=("log", "kafka"))


def topic_prefix(variables: Variables) -> str:
    """Return what every topic starts with.

    :raises SettingError: it cannot start the name of a topic.
    """
    prefix = variables.text("TOPIC_PREFIX", default="dev")
    if not _TOPIC_PREFIX.fullmatch(prefix):
        raise SettingError("TOPIC_PREFIX: must be 1 to 100 letters, digits, '.', '_' or '-'")
    return prefix


def kafka_options(variables: Variables) -> KafkaOptions:
    """Return how brokers are met.

    :raises SettingError: a protocol or mechanism is none of ours.
    """

    def file(name: str) -> Path | None:
        value = variables.text(name, default="")
        if not value:
            return None
        try:
            Path(value).read_bytes()  # aiokafka reads it at the first event, when nobody watches
        except OSError as problem:
            raise SettingError(f"{name}: {value}: {problem.strerror}") from None
        return Path(value)

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


def _bank_keys(settings: GatewaySettings) -> Iterator[tuple[str, str]]:
    """Walk the secrets that the banks refer to, as (name, text)."""
    for bank in settings.banks.values():
        if bank.verify is not None:
            yield f"BANKS_FILE: {bank.code}.signing.key", bank.verify.key


def _refuse_in_production(settings: GatewaySettings) -> None:
    if settings.database_url.startswith("sqlite"):
        raise SettingError("DATABASE_URL: production needs PostgreSQL, not a SQLite file")
    if settings.events_url.startswith("log"):
        raise SettingError("EVENTS_URL: production needs kafka://, not log://")
    password = settings.database_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    if password.lower() in _EXAMPLES:
        raise SettingError("DATABASE_URL: its password is an example, not a secret")
