"""Keys and tokens of tests, made with PyJWT alone so that they share no code with payctl."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = AUDIENCE = "payment-gateway"
ALL_SCOPES = ("payments:inquire", "payments:confirm")


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


@dataclass(kw_only=True)
class SigningKey:
    """An ES256 key pair with an id."""

    key_id: str
    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def jwk(self) -> dict[str, str]:
        """The public half."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "kid": self.key_id,
            "alg": "ES256",
            "use": "sig",
            "x": _number(numbers.x),
            "y": _number(numbers.y),
        }

    @property
    def private_number(self) -> str:
        """The private half, as a JWK would spell it."""
        return _number(self.private.private_numbers().private_value)

    def token(
        self,
        *,
        scopes: Iterable[str] = ALL_SCOPES,
        bank: str | None = "AMK",
        now: datetime | None = None,
        **claims: Any,
    ) -> str:
        """Return a token; a claim given as None is left out."""
        moment = now or datetime.now(tz=UTC)
        content: dict[str, Any] = {
            "sub": "tester",
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(moment.timestamp()),
            "exp": int((moment + timedelta(hours=1)).timestamp()),
            "scope": " ".join(scopes),
            "bank": bank,
        } | claims
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, self.private, algorithm="ES256", headers={"kid": self.key_id})


def write_jwks(path: Path, *keys: SigningKey) -> Path:
    """Write the public halves of `keys` and return the path."""
    path.write_text(json.dumps({"keys": [key.jwk for key in keys]}), encoding="utf-8")
    return path
