"""Names and defaults of the KHQR service's variables, and what production refuses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.metrics import metrics_listen
from chassis.open_channel import read_streams
from chassis.plaintext import refuse_plaintext
from chassis.secrets import (
    SecretReference,
    refuse_disclosed,
    texts_of_document,
    texts_of_environ,
)
from chassis.settings import Address, SettingError, Variables
from chassis.tls import (
    TlsFiles,
    read_client_tls,
    read_server_tls,
    server_name_of,
)
from chassis.tracing import otlp_endpoint
from khqr_svc.banks.configuration import BankSettings, QrEndpoints, read_banks, read_document

_LAPTOP_BANKS = Path(__file__).parent / "banks" / "laptop.toml"

# The two credentials that the specification once printed in clear, by the SHA-256 of their
# UTF-8 text: whoever holds that document can use them.
_DISCLOSED = frozenset(
    {
        "1b960cc38d6433d8bc33b585e5ef2f9ff57ede2d83e73a4451e68e492d7b1d39",
        "a048310b4e5eede6d2723b0d11322c9ef92ffb6221067d16d2046e36f94725c4",
    }
)
_EXAMPLES = ("changeme", "change-me", "example", "secret", "password", "sandbox")


@dataclass(frozen=True, kw_only=True)
class KhqrSettings:
    """Everything the KHQR service is told from outside."""

    production: bool
    listen: Address
    tls: TlsFiles | None
    gateway_target: str
    client_tls: TlsFiles | None
    gateway_server_name: str  # "" for the target's own
    grpc_streams: int  # to the gateway; 0: each call travels alone
    gateway_token_file: Path
    banks: Mapping[str, BankSettings]
    jwt_keys_file: Path
    jwt_issuer: str
    jwt_audience: str
    log_level: str
    inquiries_per_minute: int  # of one subject
    metrics_listen: Address | None  # None: nobody asks
    otlp_endpoint: str | None  # where traces go; None: nowhere
    budget_s: float = 5.0  # the whole of an inbound call (specification: "5 seconds max")
    drain_s: float = 8.0  # longer than any call, shorter than an orchestrator's patience


def read_settings(*, variables: Variables, environ: Mapping[str, str]) -> KhqrSettings:
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
    keys = var_dir / "keys"
    settings = KhqrSettings(
        production=production,
        listen=variables.address("KHQR_LISTEN", default="127.0.0.1:50052"),
        tls=read_server_tls(variables=variables, name="KHQR", production=production),
        gateway_target=variables.text(
            "GATEWAY_TARGET", default=None if production else "127.0.0.1:50051"
        ),
        client_tls=read_client_tls(variables=variables, production=production),
        gateway_server_name=server_name_of(variables=variables, name="GATEWAY"),
        grpc_streams=read_streams(variables=variables),
        gateway_token_file=variables.path("GATEWAY_TOKEN_FILE", default=keys / "khqr.token"),
        banks=read_banks(document=document, variables=variables, environ=environ, var_dir=var_dir),
        jwt_keys_file=variables.path("JWT_KEYS_FILE", default=keys / "jwks.json"),
        jwt_issuer=variables.text("JWT_ISSUER", default="payment-gateway"),
        jwt_audience=variables.text("JWT_AUDIENCE", default="payment-gateway"),
        log_level=variables.choice(
            "LOG_LEVEL", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"
        ),
        inquiries_per_minute=variables.integer(
            "INQUIRIES_PER_MINUTE", default=100, least=1, most=1_000_000
        ),
        otlp_endpoint=otlp_endpoint(variables=variables),
        metrics_listen=metrics_listen(variables, service="KHQR"),
    )
    # A disclosed credential is refused wherever it stands, on a laptop too.
    refuse_disclosed(texts=texts_of_environ(environ), digests=_DISCLOSED)
    refuse_disclosed(texts=variables.unsealed_texts(), digests=_DISCLOSED)
    refuse_disclosed(texts=texts_of_document(document, name="BANKS_FILE"), digests=_DISCLOSED)
    refuse_disclosed(texts=_bank_secrets(settings), digests=_DISCLOSED)
    if production:
        _refuse_in_production(settings)
        refuse_plaintext(variables=variables, places=_plain_places(settings))
    return settings


def _plain_places(settings: KhqrSettings) -> Iterator[tuple[str, str]]:
    if settings.tls is None:
        yield "KHQR_LISTEN", str(settings.listen)
    if settings.client_tls is None:
        yield "GATEWAY_TARGET", settings.gateway_target


def _bank_secrets(settings: KhqrSettings) -> Iterator[tuple[str, str]]:
    """Walk the secrets that the banks refer to as (name, text): unreadable ones stop the start."""
    for qr in _endpoints(settings):
        for reference in _references(qr):
            yield reference.name, reference.read()


def _refuse_in_production(settings: KhqrSettings) -> None:
    for bank in settings.banks.values():
        qr = bank.qr
        if qr is None:
            continue
        if qr.base_url.startswith("http:") and not qr.allow_plain_http.strip():
            raise SettingError(
                f"BANKS_FILE: {bank.code}.base_url: production needs https,"
                " or allow_plain_http with the reason why not"
            )
        if qr.password.read().lower() in _EXAMPLES:
            raise SettingError(f"{qr.password.name}: is an example, not a secret")


def _endpoints(settings: KhqrSettings) -> list[QrEndpoints]:
    return [bank.qr for bank in settings.banks.values() if bank.qr is not None]


def _references(qr: QrEndpoints) -> tuple[SecretReference, ...]:
    return (qr.username, qr.password)
