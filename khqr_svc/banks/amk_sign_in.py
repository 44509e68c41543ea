"""AMK's sign-in: user name and password -> a bearer token for the requests after it.

`POST /auth/sign-in {"username","password"}` answers
`{"access_token","token_type":"Bearer","expires_in":3600}` (specification, Authentication).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import structlog

from chassis.http_client import HttpResponse
from chassis.redaction import known_secrets
from chassis.secrets import SecretReference
from chassis.settings import SettingError
from chassis.single_flight import SingleFlight
from khqr_svc.bank_metrics import CACHED, REFUSED, SIGNED_IN, UNAVAILABLE
from khqr_svc.banks.endpoint import Endpoint
from khqr_svc.banks.port import BankNotUnderstood, BankUnavailable
from khqr_svc.joining import joined

_EARLY_S = 60  # a token is renewed this long before its end; of a short one half is used
_LONGEST_S = 30 * 24 * 3600
_TOKEN = re.compile(r"[!-~]{1,8192}", re.ASCII)
_TYPES = ("", "bearer")
_OK = 200

_log = structlog.get_logger()


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int
    token_type: str = ""


@dataclass(frozen=True, kw_only=True)
class _Token:
    text: str = field(repr=False)
    good_until: float  # monotonic seconds


class AmkSignIn:
    """Keeps one token, and gets the next one once, however many wait for it."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        username: SecretReference,
        password: SecretReference,
        clock: Callable[[], float],
        heard: Callable[[str], None] | None = None,
    ) -> None:
        """Keep nothing yet; `heard` is told how each token was had, or why not."""
        self._heard = heard or _unheard
        self._endpoint = endpoint
        self._username = username
        self._password = password
        self._clock = clock
        self._token: _Token | None = None
        self._flights: SingleFlight[None, str] = SingleFlight()

    async def token(self, *, deadline: float) -> str:
        """Return a token that is good for some time yet.

        :raises BankUnavailable: the bank does not answer.
        :raises BankNotUnderstood: it refuses our login, or answers with something else.
        """
        if self._token is not None and self._clock() < self._token.good_until:
            self._heard(CACHED)
            return self._token.text
        return await joined(
            flights=self._flights,
            key=None,
            call_until=self._signed_in,
            deadline=deadline,
            clock=self._clock,
        )

    def forget(self, *, token: str) -> None:
        """Stop using `token`, which the bank refused; a newer one that is there stays."""
        if self._token is not None and self._token.text == token:
            self._token = None

    async def close(self) -> None:
        """Stop a sign-in under way."""
        await self._flights.close()

    async def _signed_in(self, deadline: float) -> str:
        # A caller that saw no token may come here just after another one got it.
        if self._token is not None and self._clock() < self._token.good_until:
            return self._token.text
        asked_at = self._clock()
        body = msgspec.json.encode(self._credentials())
        try:
            answer = _parsed(await self._endpoint.post(body=body, headers={}, deadline=deadline))
        except BankNotUnderstood:
            self._heard(REFUSED)
            raise
        except BankUnavailable:
            self._heard(UNAVAILABLE)
            raise
        self._heard(SIGNED_IN)
        known_secrets.remember(value=answer.access_token, renewed=True)
        lasts_s = min(answer.expires_in, _LONGEST_S)
        self._token = _Token(
            text=answer.access_token,
            good_until=asked_at + lasts_s - min(_EARLY_S, lasts_s // 2),
        )
        _log.info("bank_signed_in", lasts_s=lasts_s)
        return answer.access_token

    def _credentials(self) -> dict[str, str]:
        """Read each time: a replaced file is a replaced password, without a restart."""
        try:
            return {"username": self._username.read(), "password": self._password.read()}
        except SettingError as problem:
            raise BankUnavailable(why=str(problem)) from None


def _unheard(_outcome: str) -> None:
    """Hear nothing."""


def _parsed(response: HttpResponse) -> _Answer:
    if response.status != _OK:
        raise BankNotUnderstood(f"sign-in answered {response.status}")
    try:
        answer = msgspec.json.decode(response.body, type=_Answer, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BankNotUnderstood("sign-in answered what is no token") from None
    if (
        not _TOKEN.fullmatch(answer.access_token)
        or answer.token_type.lower() not in _TYPES
        or answer.expires_in <= 0
    ):
        raise BankNotUnderstood("sign-in answered a token we cannot use")
    return answer
