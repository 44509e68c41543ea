"""The insurer's public API as the bank calls it: look a bill up, tell that it was paid."""

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

TIMEOUT_S = 5  # the specification: "Timeout handling (5 seconds max)"


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

    async def look_up(self, *, query: str) -> Answer:
        """Return the answer to "what is due on this number?"."""
        return await self._ask("GET", f"?query={quote(query, safe='')}", None)

    async def tell_paid(self, *, body: bytes) -> Answer:
        """Return the answer to the webhook with `body`."""
        return await self._ask("POST", "", body)

    async def _ask(self, method: str, query: str, body: bytes | None) -> Answer:
        began = time.monotonic()

        def answer(status: int | None, text: str) -> Answer:
            elapsed_ms = int((time.monotonic() - began) * 1000)
            return Answer(status=status, text=text, elapsed_ms=elapsed_ms)

        try:
            token = self._settings.token_file.read_text(encoding="utf-8").strip()
        except OSError as problem:
            return answer(None, f"the bank's token cannot be read: {problem.strerror}")
        url = f"{self._settings.base_url()}/{self._settings.bank_code}/payments{query}"
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            ) as response:
                content = await response.read()
                return answer(response.status, content.decode("utf-8", errors="replace"))
        except TimeoutError:
            return answer(None, f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, ValueError) as problem:
            return answer(None, f"no answer: {type(problem).__name__}")
