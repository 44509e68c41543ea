"""Names and defaults of the sandbox's environment."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from amk_sandbox.insurer import InsurerSettings
from chassis.settings import Address, SettingError, Variables


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """Everything the sandbox reads from its environment."""

    listen: Address
    database: Path
    events_file: Path | None  # the event log; None where Kafka is followed
    kafka_servers: str
    topic_prefix: str
    insurer: InsurerSettings
    log_level: str


def read_settings(*, variables: Variables) -> SandboxSettings:
    """Return the settings of the sandbox.

    `SANDBOX_LISTEN`, `SANDBOX_TOKEN_FILE` (the bank's own token), `EVENTS_URL`,
    `TOPIC_PREFIX`, `VAR_DIR`, `LOG_LEVEL`; and where the insurer's public API is:
    `BRIDGE_URL`, else what `bridge.url` in `VAR_DIR` holds at the moment of the call.

    :raises SettingError: a variable has a value that cannot be used, or this is production.
    """
    environment = variables.choice(
        "ENVIRONMENT", choices=("development", "test", "production"), default="development"
    )
    if environment == "production":
        raise SettingError("ENVIRONMENT: the sandbox plays the bank, which production must not")
    var = variables.path("VAR_DIR", default=Path("var"))
    events_url = variables.url("EVENTS_URL", default="log://", schemes=("log", "kafka"))
    is_log = events_url.startswith("log:")
    return SandboxSettings(
        listen=variables.address("SANDBOX_LISTEN", default="127.0.0.1:8687"),
        database=var / "sandbox.sqlite",
        events_file=var / "events.jsonl" if is_log else None,
        kafka_servers="" if is_log else urlsplit(events_url).netloc,
        topic_prefix=variables.text("TOPIC_PREFIX", default="dev"),
        insurer=_insurer(variables, var),
        log_level=variables.choice(
            "LOG_LEVEL", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"
        ),
    )


def _insurer(variables: Variables, var: Path) -> InsurerSettings:
    given = variables.text("BRIDGE_URL", default="")
    return InsurerSettings(
        url=variables.url("BRIDGE_URL", schemes=("http", "https")) if given else None,
        url_file=var / "bridge.url",
        default_url="http://127.0.0.1:8080",
        token_file=variables.path("SANDBOX_TOKEN_FILE", default=var / "keys" / "sandbox.token"),
        bank_code="AMK",
    )
