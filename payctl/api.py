"""The gateway's public API as payctl calls it: with a token like any client, no database."""

import getpass
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from chassis.settings import SettingError, Variables
from payctl.keys import ensure_keys
from payctl.tokens import mint_with, read_token_settings

_LIMIT_S = 10.0  # more than the 5 s that a call may take
_LIFETIME = timedelta(minutes=15)
_ERRORS_FROM = 400

Url = Annotated[
    str | None,
    typer.Option("--url", help="Where the API is; BRIDGE_URL, or what payctl up started here."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ApiUnreachable(Exception):
    """No answer came; the text says from where."""


@dataclass(kw_only=True)
class ApiRefused(Exception):
    """The API answered with a failure."""

    status: int
    code: str
    message: str
    details: str

    def __post_init__(self) -> None:
        """Give `Exception` its text."""
        super().__init__(
            f"{self.code}: {self.message}" + (f" ({self.details})" * bool(self.details))
        )


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the API is, and the token that opens it."""

    base_url: str
    token: str = field(repr=False)


class Api:
    """Calls; amounts stay the text they are written as."""

    def __init__(self, *, session: aiohttp.ClientSession, where: Where) -> None:
        self._session = session
        self._where = where

    async def get(self, path: str, **query: Any) -> Any:
        """Return the data of a GET; parameters that are None are left out.

        :raises ApiRefused: the API says why not.
        :raises ApiUnreachable: it says nothing.
        """
        given = {name: str(value) for name, value in query.items() if value is not None}
        return await self._call("GET", path, params=given)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the data of a POST; raises as `get`."""
        return await self._call("POST", path, json=body)

    async def _call(self, method: str, path: str, **content: Any) -> Any:
        url = f"{self._where.base_url}{path}"
        headers = {"Authorization": f"Bearer {self._where.token}"}
        try:
            async with self._session.request(method, url, headers=headers, **content) as response:
                text = await response.text()
                return _data(response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ApiUnreachable(
                f"{self._where.base_url} does not answer ({type(problem).__name__})"
            ) from None


def read_where(
    *, variables: Variables, url: str | None, scopes: tuple[str, ...], bank: str | None = None
) -> Where:
    """Return where the API is and a token with `scopes`.

    The token is that of PAYCTL_TOKEN; on a laptop, where there is none, one is minted for the
    user of this machine.

    :raises SettingError: there is neither an address nor a token.
    """
    return Where(
        base_url=read_url(variables=variables, url=url),
        token=read_token(variables=variables, scopes=scopes, bank=bank),
    )


def read_url(*, variables: Variables, url: str | None) -> str:
    """Return the address of the API.

    :raises SettingError: nobody says where it is.
    """
    found = url or variables.text("BRIDGE_URL", default="")
    told = variables.path("VAR_DIR", default=Path("var")) / "bridge.url"
    if not found and told.is_file():
        found = told.read_text(encoding="utf-8").strip()
    if not found:
        raise SettingError("--url: where is the API? Nothing runs here that payctl up started")
    if not found.startswith(("http://", "https://")):
        raise SettingError(f"--url: must start with http:// or https://, is {found!r}")
    return found.rstrip("/")


def read_token(
    *,
    variables: Variables,
    scopes: tuple[str, ...],
    bank: str | None = None,
    name: str = "PAYCTL_TOKEN",
) -> str:
    """Return the token in `name`, or one of a quarter of an hour by this laptop's own key.

    :raises SettingError: there is no token, and this is production, where another party signs.
    """
    given = variables.text(name, default="")
    if given:
        return given
    try:
        settings = read_token_settings(variables=variables)
    except SettingError:
        raise SettingError(f"{name}: is required where payctl makes no tokens") from None
    return mint_with(
        settings=settings,
        key=ensure_keys(folder=settings.folder),
        subject=getpass.getuser(),
        scopes=scopes,
        bank=bank,
        now=datetime.now(tz=UTC),
        lifetime=_LIFETIME,
    )


@asynccontextmanager
async def opened(where: Where) -> AsyncIterator[Api]:
    """Yield the API at `where`."""
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    async with aiohttp.ClientSession(timeout=limit) as session:
        yield Api(session=session, where=where)


def _data(status: int, text: str) -> Any:
    try:
        answer = json.loads(text, parse_float=str)
        if status < _ERRORS_FROM:
            return answer["data"]
        error = answer["error"]
        return _raise(status, error["code"], error["message"], error.get("details", ""))
    except (ValueError, KeyError, TypeError):
        return _raise(status, "NOT_OUR_ANSWER", f"HTTP {status} without an answer of the API", "")


def _raise(status: int, code: str, message: str, details: str) -> None:
    raise ApiRefused(status=status, code=code, message=message, details=details)
