"""The insurer's public API as the bank and the customer's app call it.

The bank looks a bill up and tells that it was paid; the app asks for a code.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

TIMEOUT_S = 5  # the specification: "Timeout handling (5 seconds max)"
_APP_TIMEOUT_S = 10  # the customer waits longer than the insurer does for the bank
_FORGED_TOKEN = "this.token.is.forged"  # noqa: S105 # known to be no good


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: a status and its text; or no status and why there was none."""

    status: int | None
    text: str
    elapsed_ms: int


@dataclass(frozen=True, kw_only=True)
class InsurerSettings:
    """Where the public API is and with which token the bank calls it.

    Files are read for each call: the address is only known once the bridge listens, and
    a token is renewed without a restart.
    """

    url: str | None
    url_file: Path
    default_url: str
    token_file: Path
    app_token_file: Path
    bank_code: str

    def base_url(self) -> str:
        """Return the address of the public API, without a slash at its end."""
        if self.url is None:
            try:
                found = self.url_file.read_text(encoding="utf-8").strip()
            except OSError:
                found = ""
            return (found or self.default_url).rstrip("/")
        return self.url.rstrip("/")


class Insurer:
    """The insurer's public API."""

    def __init__(
        self,
        *,
        settings: InsurerSettings,
        session: aiohttp.ClientSession,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._session = session
        self._bank = settings.bank_code

    def console_url(self) -> str:
        """Return where the insurer's operators look."""
        return f"{self._settings.base_url()}/console"

    async def look_up(self, *, query: str) -> Answer:
        """Return the answer to "what is due on this number?"."""
        return await self._ask("GET", f"{self._bank}/payments?query={quote(query, safe='')}")

    async def ask_code(self, *, query: str) -> Answer:
        """Return the answer to "a code for this number?", asked as the customer's app does."""
        bank = quote(json.dumps({"id": self._bank, "bank": self._bank}, separators=(",", ":")))
        return await self._ask(
            "GET",
            f"khqr?bankCode={bank}&billNumber={quote(query, safe='')}",
            token_files=(self._settings.app_token_file, self._settings.token_file),
            timeout_s=max(self._timeout_s, _APP_TIMEOUT_S),
        )

    async def tell_paid(self, *, body: bytes) -> Answer:
        """Return the answer to the webhook of a bill with `body`."""
        return await self._ask("POST", f"{self._bank}/payments", body=body)

    async def tell_scanned(self, *, body: bytes, forged: bool) -> Answer:
        """Return the answer to the webhook of a code with `body`; `forged`: with no good token."""
        token = _FORGED_TOKEN if forged else None
        return await self._ask("POST", f"{self._bank}/khqr", body=body, token=token)

    async def _ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        token: str | None = None,
        token_files: tuple[Path, ...] = (),
        timeout_s: float | None = None,
    ) -> Answer:
        began = time.monotonic()
        limit_s = timeout_s or self._timeout_s

        def answer(status: int | None, text: str) -> Answer:
            elapsed_ms = int((time.monotonic() - began) * 1000)
            return Answer(status=status, text=text, elapsed_ms=elapsed_ms)

        try:
            token = token or _first(token_files or (self._settings.token_file,))
        except OSError as problem:
            return answer(None, f"the bank's token cannot be read: {problem.strerror}")
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                URL(f"{self._settings.base_url()}/{target}", encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit_s),
            ) as response:
                content = await response.read()
                return answer(response.status, content.decode("utf-8", errors="replace"))
        except TimeoutError:
            return answer(None, f"no answer within {limit_s:g} s")
        except (aiohttp.ClientError, ValueError) as problem:
            return answer(None, f"no answer: {type(problem).__name__}")


def _first(token_files: tuple[Path, ...]) -> str:
    """Return the token in the first file that is there; the last one must be."""
    for path in token_files[:-1]:
        if path.exists():
            return path.read_text(encoding="utf-8").strip()
    return token_files[-1].read_text(encoding="utf-8").strip()
