"""Checks of the way: names, connections, certificates, clocks, and the webhook from outside."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from payctl.checks import Check, Finding, green, red

_SHORT_S = 5.0
_LEAST_DAYS = 14  # of a certificate
_MOST_SKEW = timedelta(seconds=5)  # tokens bear 30 s, the bank's signature nobody knows
_PORTS = {"http": 80, "https": 443}
_UNAUTHORIZED, _FORBIDDEN = 401, 403


@dataclass(frozen=True, kw_only=True)
class Place:
    """An address that must be reached; `tls` says that a certificate must be good."""

    name: str
    host: str
    port: int
    tls: bool


def place_of_url(*, name: str, url: str) -> Place:
    """Return where `url` leads."""
    parts = urlsplit(url)
    return Place(
        name=name,
        host=parts.hostname or "",
        port=parts.port or _PORTS.get(parts.scheme, 0),
        tls=parts.scheme == "https",
    )


def connection_checks(places: Iterable[Place]) -> list[Check]:
    """Return a check of each place."""
    return [Check(name=f"reach {place.name}", ask=partial(_reached, place)) for place in places]


def clock_check(*, name: str, url: str, clock: Callable[[], datetime]) -> Check:
    """Return a check that the clock of `url`'s server is ours, by its answers' Date."""
    return Check(name=f"clock of {name}", ask=lambda: _clock(url, clock))


def webhook_check(*, url: str, path: str) -> Check:
    """Return a check that our webhook is behind `url`: without a token it says 401."""
    return Check(name="webhook from outside", ask=lambda: _webhook(url, path))


async def _reached(place: Place) -> Finding:
    where = f"{place.host}:{place.port}"
    context = ssl.create_default_context() if place.tls else None
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_SHORT_S):
            _reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
    except TimeoutError:
        return red(f"{where} does not answer", remedy="Ask whose firewall is in between.")
    except ssl.SSLCertVerificationError as problem:
        return red(
            f"{where}: {problem.verify_message}", remedy="Have the other side mend its certificate."
        )
    except (OSError, ssl.SSLError) as problem:
        why = getattr(problem, "strerror", None) or type(problem).__name__
        return red(f"{where}: {why}", remedy="Check the address and whether it listens.")
    took_ms = round((time.monotonic() - started_s) * 1000)
    try:
        return (
            _certified(writer, f"{where} in {took_ms} ms")
            if place.tls
            else green(f"{where} in {took_ms} ms")
        )
    finally:
        writer.close()


def _certified(writer: asyncio.StreamWriter, seen: str) -> Finding:
    certificate = writer.get_extra_info("peercert") or {}
    ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), tz=UTC)
    days = (ends_at - datetime.now(tz=UTC)).days
    if days < _LEAST_DAYS:
        return red(
            f"{seen}; its certificate ends in {days} days",
            remedy="Have the other side renew it now.",
        )
    return green(f"{seen}, certificate good for {days} days")


async def _clock(url: str, clock: Callable[[], datetime]) -> Finding:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SHORT_S)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            told = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        return red(f"no answer ({type(problem).__name__})", remedy="Mend the connection first.")
    try:
        theirs = parsedate_to_datetime(told)
    except ValueError:
        return red("its answers tell no time", remedy="Compare the clocks by hand.")
    return skew_finding(theirs=theirs, ours=clock())


def skew_finding(*, theirs: datetime, ours: datetime) -> Finding:
    """Return whether two clocks agree; an HTTP date is up to a second old."""
    skew = ours - theirs
    seen = (
        f"{abs(skew).total_seconds():.1f} s {'behind' if skew > timedelta() else 'ahead of'} ours"
    )
    if abs(skew) > _MOST_SKEW:
        return red(seen, remedy="Run NTP on this machine; if ours is right, tell them.")
    return green(seen)


async def _webhook(url: str, path: str) -> Finding:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SHORT_S)) as session,
            session.post(f"{url}{path}", json={}, allow_redirects=False) as response,
        ):
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
        return red(
            f"{url}{path}: no answer of ours ({type(problem).__name__})",
            remedy="Check DNS, the balancer and the bridge's address.",
        )
    code = (answer.get("error") or {}).get("code") if isinstance(answer, dict) else None
    if (response.status, code) in {(_UNAUTHORIZED, "UNAUTHORIZED"), (_FORBIDDEN, "FORBIDDEN")}:
        return green(f"{url}{path} answers {response.status} {code} to a stranger")
    return red(
        f"{url}{path} answers {response.status}, not as our bridge answers a stranger",
        remedy="Something else answers there: check where the name leads.",
    )
