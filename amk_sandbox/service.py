"""The composition root: the one place that names the sandbox's concrete parts."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import structlog
from aiohttp import web

from amk_sandbox.api import Sandbox, make_app
from amk_sandbox.bank import Bank
from amk_sandbox.bank_api import BankParts, Pace
from amk_sandbox.books import Books
from amk_sandbox.calls import Calls
from amk_sandbox.codes import Codes
from amk_sandbox.credentials import open_credentials
from amk_sandbox.events import KafkaFollower, LogFollower, success_topic
from amk_sandbox.faults import Faults
from amk_sandbox.generation import Generation
from amk_sandbox.insurer import Insurer
from amk_sandbox.notices import Notices
from amk_sandbox.policies import Policies
from amk_sandbox.scanning import Scanning
from amk_sandbox.settings import SandboxSettings, read_settings
from amk_sandbox.store import Store
from amk_sandbox.tokens import Tokens
from amk_sandbox.transfers import Transfers
from amk_sandbox.verification import Partner, Verification
from chassis.settings import Address, SettingError, own_variables
from chassis.telemetry import configure_logging

_EVENTS_PAUSE_S = 0.3
_RESEND_PAUSE_S = 0.5
_FAILURE_PAUSE_S = 2.0
_GRACE_S = 6.0  # one webhook may be under way: 5 s and the time to note its answer

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class RunningSandbox:
    """A sandbox that listens: its parts, its loops' follower, and its real address."""

    parts: Sandbox
    follower: LogFollower | KafkaFollower
    address: Address


@contextlib.asynccontextmanager
async def running_sandbox(
    *, settings: SandboxSettings, clock: Callable[[], datetime], pace: Pace | None = None
) -> AsyncIterator[RunningSandbox]:
    """Listen, and close in order at the end; the loops are the caller's to run.

    :raises OSError: the address is taken.
    """
    store = Store(path=settings.database)
    async with aiohttp.ClientSession() as session:
        parts = _parts(settings, store, session, clock, pace or Pace())
        parts.policies.seed()
        parts.books.open_accounts()
        follower = _follower(settings, parts.policies, store)
        runner = web.AppRunner(make_app(sandbox=parts), access_log=None, shutdown_timeout=_GRACE_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.listen.host, settings.listen.port)
            await site.start()
            port = runner.addresses[0][1]
            address = Address(host=settings.listen.host, port=port)
            yield RunningSandbox(parts=parts, follower=follower, address=address)
        finally:
            await runner.cleanup()
            await follower.close()
            store.close()


def _parts(
    settings: SandboxSettings,
    store: Store,
    session: aiohttp.ClientSession,
    clock: Callable[[], datetime],
    pace: Pace,
) -> Sandbox:
    credentials = open_credentials(given=settings.credentials)
    insurer = Insurer(settings=settings.insurer, session=session)
    books = Books(store=store, clock=clock)
    transfers = Transfers(store=store, books=books)
    notices = Notices(store=store, insurer=insurer, clock=clock)
    codes = Codes(store=store, merchant=settings.merchant, clock=clock)
    partner = Partner(signing=settings.signing, hmac_key=credentials.hmac_key)
    bank_parts = BankParts(
        tokens=Tokens(
            store=store,
            credentials=credentials,
            lifetime_s=settings.token_lifetime_s,
            clock=clock,
        ),
        codes=codes,
        generation=Generation(codes=codes, form=settings.qr_form),
        verification=Verification(partner=partner, codes=codes, transfers=transfers, clock=clock),
        faults=Faults(store=store),
        calls=Calls(store=store, clock=clock),
    )
    return Sandbox(
        store=store,
        policies=Policies(store=store, clock=clock),
        books=books,
        transfers=transfers,
        bank=Bank(store=store, books=books, transfers=transfers, insurer=insurer, clock=clock),
        bank_parts=bank_parts,
        notices=notices,
        scanning=Scanning(
            store=store,
            codes=codes,
            transfers=transfers,
            notices=notices,
            faults=bank_parts.faults,
            insurer=insurer,
            clock=clock,
        ),
        insurer=insurer,
        pace=pace,
    )


def _follower(
    settings: SandboxSettings, policies: Policies, store: Store
) -> LogFollower | KafkaFollower:
    topic = success_topic(prefix=settings.topic_prefix)
    if settings.events_file is None:
        return KafkaFollower(servers=settings.kafka_servers, topic=topic, policies=policies)
    return LogFollower(path=settings.events_file, topic=topic, policies=policies, store=store)


async def _repeat(
    *, name: str, run_once: Callable[[], Awaitable[int]], pause_s: float, stop: asyncio.Event
) -> None:
    """Run until `stop`; a failure is logged and tried again later."""
    while not stop.is_set():
        wait_s = pause_s
        try:
            if count := await run_once():
                _log.info("worked", loop=name, count=count)
        except Exception:  # noqa: BLE001 # a loop outlives whatever one run meets
            _log.exception("loop_failed", loop=name)
            wait_s = _FAILURE_PAUSE_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)


async def _serve(settings: SandboxSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def clock() -> datetime:
        return datetime.now(tz=UTC)

    async with running_sandbox(settings=settings, clock=clock) as running:
        _log.info("listening", addresses=[str(running.address)])
        await asyncio.gather(
            _repeat(
                name="events",
                run_once=running.follower.run_once,
                pause_s=_EVENTS_PAUSE_S,
                stop=stop,
            ),
            _repeat(
                name="resend",
                run_once=running.parts.bank.run_once,
                pause_s=_RESEND_PAUSE_S,
                stop=stop,
            ),
            _repeat(
                name="notices",
                run_once=running.parts.notices.run_once,
                pause_s=_RESEND_PAUSE_S,
                stop=stop,
            ),
        )
    _log.info("stopped")


def main() -> None:
    """Run the sandbox until SIGTERM or SIGINT; a wrong setting is one line and exit code 2."""
    try:
        settings = read_settings(variables=own_variables())
    except SettingError as problem:
        sys.stderr.write(f"amk_sandbox: {problem}\n")
        sys.exit(2)
    configure_logging(service="amk_sandbox", level=settings.log_level)
    try:
        asyncio.run(_serve(settings))
    except OSError as problem:
        sys.stderr.write(f"amk_sandbox: SANDBOX_LISTEN: {settings.listen}: {problem.strerror}\n")
        sys.exit(2)
