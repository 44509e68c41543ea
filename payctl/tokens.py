"""Which tokens a laptop needs, and where its keys are."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from chassis.settings import SettingError, Variables
from payctl.keys import SigningKey, mint

DEVELOPER_SCOPES = ("payments:inquire", "payments:confirm", "khqr:generate")
BANK_SCOPES = ("payments:inquire", "payments:confirm")
KHQR_SCOPES = ("payments:inquire", "khqr:record")
OPERATOR_SCOPES = ("operations:read", "operations:act")
OPERATORS = ("sokha", "dara")  # two, for whoever proposes may not approve
APP_SCOPES = ("payments:inquire", "khqr:generate")
DEFAULT_BANK = "AMK"


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """Where the keys are, and whom a token is from and for."""

    folder: Path
    keys_file: Path
    issuer: str
    audience: str


def read_token_settings(*, variables: Variables) -> TokenSettings:
    """Return the settings of minting; a laptop's alone.

    :raises SettingError: in production, where another party signs; or a bad value.
    """
    refuse_production(variables=variables)
    folder = variables.path("VAR_DIR", default=Path("var")) / "keys"
    return TokenSettings(
        folder=folder,
        keys_file=variables.path("JWT_KEYS_FILE", default=folder / "jwks.json"),
        issuer=variables.text("JWT_ISSUER", default="payment-gateway"),
        audience=variables.text("JWT_AUDIENCE", default="payment-gateway"),
    )


def refuse_production(*, variables: Variables) -> None:
    """Return if this is not production.

    :raises SettingError: it is; or `ENVIRONMENT` is none of ours.
    """
    environment = variables.choice(
        "ENVIRONMENT", choices=("development", "test", "production"), default="development"
    )
    if environment == "production":
        raise SettingError("ENVIRONMENT: payctl makes keys and tokens for laptops, not production")


def mint_with(
    *,
    settings: TokenSettings,
    key: SigningKey,
    subject: str,
    scopes: tuple[str, ...],
    bank: str | None,
    now: datetime,
    lifetime: timedelta,
) -> str:
    """Return a token by `key`, from the issuer and for the audience of `settings`."""
    return mint(
        key=key,
        subject=subject,
        scopes=scopes,
        bank=bank,
        issuer=settings.issuer,
        audience=settings.audience,
        now=now,
        lifetime=lifetime,
    )
