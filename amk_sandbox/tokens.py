"""Sign-in tokens: opaque, kept as digests, good for a while or until they are revoked."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from amk_sandbox.credentials import Credentials
from amk_sandbox.moments import stored
from amk_sandbox.store import Store

_TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """How many tokens were ever given, and how many of them are good now."""

    given: int
    good: int


class Tokens:
    """The tokens that the bank gave."""

    def __init__(
        self,
        *,
        store: Store,
        credentials: Credentials,
        lifetime_s: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self.lifetime_s = lifetime_s

    def sign_in(self, *, username: str, password: str) -> str | None:
        """Return a new token, or None where the credentials are not the partner's."""
        known = self._credentials
        # Both are compared, each in constant time.
        name_fits = hmac.compare_digest(username.encode(), known.username.encode())
        password_fits = hmac.compare_digest(password.encode(), known.password.encode())
        if not (name_fits and password_fits):
            return None
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self._clock()
        self._store.run(
            "INSERT INTO tokens VALUES (?, ?, ?, NULL)",
            *(_digest(token), stored(moment=now)),
            stored(moment=now + timedelta(seconds=self.lifetime_s)),
        )
        return token

    def holds(self, *, token: str) -> bool:
        """Return whether `token` was given, is not expired and was not revoked."""
        row = self._store.row(
            "SELECT 1 FROM tokens WHERE digest = ? AND revoked_at IS NULL AND expires_at > ?",
            *(_digest(token), stored(moment=self._clock())),
        )
        return row is not None

    def revoke_all(self) -> int:
        """Return how many good tokens there were; none is left."""
        now = stored(moment=self._clock())
        return self._store.run(
            "UPDATE tokens SET revoked_at = ?1 WHERE revoked_at IS NULL AND expires_at > ?1", now
        )

    def counts(self) -> TokenCounts:
        """Return how many there were and are."""
        row = self._store.row(
            "SELECT COUNT(*) AS given, COALESCE(SUM(revoked_at IS NULL AND expires_at > ?), 0)"
            " AS good FROM tokens",
            stored(moment=self._clock()),
        )
        given, good = (row["given"], row["good"]) if row else (0, 0)
        return TokenCounts(given=given, good=good)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
