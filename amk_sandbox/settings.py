"""Names and defaults of the sandbox's environment."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from amk_sandbox.credentials import GivenCredentials
from amk_sandbox.generation import FORMS
from amk_sandbox.insurer import InsurerSettings
from amk_sandbox.khqr_writer import Merchant
from amk_sandbox.signing import FIELDS, KEY_ENCODINGS, OUTPUTS, STYLES, Signing, key_bytes
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
    credentials: GivenCredentials
    token_lifetime_s: int
    signing: Signing
    merchant: Merchant
    qr_form: str
    log_level: str


def read_settings(*, variables: Variables) -> SandboxSettings:
    """Return the settings of the sandbox.

    `SANDBOX_LISTEN`, `SANDBOX_TOKEN_FILE` (the bank's own token), `EVENTS_URL`,
    `TOPIC_PREFIX`, `VAR_DIR`, `LOG_LEVEL`; and where the insurer's public API is:
    `BRIDGE_URL`, else what `bridge.url` in `VAR_DIR` holds at the moment of the call.

    The bank's API: `SANDBOX_USERNAME`, `SANDBOX_PASSWORD`, `SANDBOX_HMAC_KEY` (made under
    `VAR_DIR` where not given), `SANDBOX_TOKEN_LIFETIME_S`, `SANDBOX_MERCHANT_ID`,
    `SANDBOX_STORE_ID`, `SANDBOX_TERMINAL_ID`, `SANDBOX_SIGNING_FIELDS` (with commas),
    `_STYLE`, `_SEPARATOR` (`&` where the style is pairs), `_KEY_ENCODING`, `_OUTPUT`, and
    `SANDBOX_QR_FORM`: how the generator gives a code. The customer's app has the token in
    `SANDBOX_APP_TOKEN_FILE`, else the bank's.

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
        credentials=_credentials(variables, var),
        token_lifetime_s=variables.integer(
            "SANDBOX_TOKEN_LIFETIME_S", default=3600, least=1, most=86_400
        ),
        signing=_signing(variables),
        merchant=Merchant(
            merchant_id=variables.text("SANDBOX_MERCHANT_ID", default=Merchant.merchant_id),
            store_id=variables.text("SANDBOX_STORE_ID", default=Merchant.store_id),
            terminal_id=variables.text("SANDBOX_TERMINAL_ID", default=Merchant.terminal_id),
        ),
        qr_form=variables.choice("SANDBOX_QR_FORM", choices=FORMS, default="json"),
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
        app_token_file=variables.path("SANDBOX_APP_TOKEN_FILE", default=var / "keys" / "app.token"),
        bank_code="AMK",
    )


def _credentials(variables: Variables, var: Path) -> GivenCredentials:
    return GivenCredentials(
        username=variables.text("SANDBOX_USERNAME", default="") or None,
        password=variables.text("SANDBOX_PASSWORD", default="") or None,
        hmac_key=variables.text("SANDBOX_HMAC_KEY", default="") or None,
        folder=var / "keys",
    )


def _signing(variables: Variables) -> Signing:
    style = variables.choice("SANDBOX_SIGNING_STYLE", choices=STYLES, default=STYLES[0])
    fields = variables.text("SANDBOX_SIGNING_FIELDS", default=",".join(FIELDS))
    names = tuple(name.strip() for name in fields.split(","))
    if unknown := set(names) - set(FIELDS):
        raise SettingError(f"SANDBOX_SIGNING_FIELDS: {', '.join(sorted(unknown))} is no field")
    key_encoding = variables.choice(
        "SANDBOX_SIGNING_KEY_ENCODING", choices=KEY_ENCODINGS, default=KEY_ENCODINGS[0]
    )
    try:
        key_bytes(key=variables.text("SANDBOX_HMAC_KEY", default=""), encoding=key_encoding)
    except ValueError as problem:
        raise SettingError(f"SANDBOX_HMAC_KEY: {problem}") from None
    return Signing(
        fields=names,
        style=style,
        separator=variables.text(
            "SANDBOX_SIGNING_SEPARATOR", default="&" if style == "pairs" else ""
        ),
        key_encoding=key_encoding,
        output=variables.choice("SANDBOX_SIGNING_OUTPUT", choices=OUTPUTS, default=OUTPUTS[0]),
    )
