"""`payctl up`: everything on one machine, healthy or not at all."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from chassis.settings import Address, SettingError, Variables
from payctl.keys import ensure_keys, published_ids, write_token
from payctl.parts import BRIDGE, GATEWAY, KHQR, SANDBOX, Part, metrics_listens
from payctl.ready import Ready, ready_page
from payctl.supervisor import PartFailed, Supervisor
from payctl.tokens import (
    APP_SCOPES,
    BANK_SCOPES,
    DEFAULT_BANK,
    DEVELOPER_SCOPES,
    KHQR_SCOPES,
    OPERATOR_SCOPES,
    OPERATORS,
    TokenSettings,
    mint_with,
    read_token_settings,
)

FAVOURITE_POLICY = "P123456789"  # the specification's example
_TOKEN_LIFETIME = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What `up` takes from the process it runs in."""

    environ: Mapping[str, str]
    variables: Variables
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    start_limit_s: float = 45.0  # for each part, on a slow laptop
    stop_limit_s: float = 10.0  # more than the 5 s budget of a call that is being answered


async def bring_up(*, parts: tuple[Part, ...], around: Surroundings) -> int:
    """Start `parts`, say how to use them, and return the exit code once all have stopped.

    :raises SettingError: an address is taken, a variable is wrong, or it is running already.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def asked_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop)
    refuse_tls(variables=around.variables)
    var = around.variables.path("VAR_DIR", default=Path("var"))
    with _only_one(var):
        listens = {
            part.name: around.variables.addresses(part.listen, default=part.default_listen)
            for part in parts
        }
        for part in parts:
            refuse_taken(part=part, addresses=listens[part.name])
        supervisor = Supervisor(
            log_folder=var / "log",
            say=around.say,
            hurry=hurry,
            start_limit_s=around.start_limit_s,
            stop_limit_s=around.stop_limit_s,
        )
        work = asyncio.create_task(_run(parts, around, var, listens, supervisor))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                around.say("\nStopping: finishing what is under way.")
                return 0
            around.say(f"\n{work.result()}\nStopping the rest.")
            return 1
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.wait({work, stopping})
            await supervisor.stop()
            around.say("Stopped.")


async def _run(
    parts: tuple[Part, ...],
    around: Surroundings,
    var: Path,
    listens: Mapping[str, tuple[Address, ...]],
    supervisor: Supervisor,
) -> str:
    """Start all and watch them; return what went wrong."""
    tokens = read_token_settings(variables=around.variables)
    token, operators = _make_tokens(around, tokens)
    environ = _environ(around, var, tokens)
    found: dict[str, tuple[str, ...]] = {}
    try:
        for part in parts:
            around.say(f"Starting {part.name} ...")
            configured = tuple(str(address) for address in listens[part.name])
            addresses = await supervisor.start(part=part, environ=environ, configured=configured)
            found[part.name] = addresses
            for name, shape in part.gives.items():
                _fill(around, environ, name, shape.format(address=addresses[0]))
            if part.tells:
                _write_line(var / part.tells, f"http://{addresses[0]}")
    except PartFailed as failure:
        return str(failure)
    if {SANDBOX, GATEWAY, BRIDGE} <= found.keys():
        policy, khqr_policy = await _policies_to_show(found[SANDBOX][0])
        ready = Ready(
            rest=found[BRIDGE],
            grpc=found[GATEWAY][0],
            sandbox=found[SANDBOX][0],
            var=var,
            token=token,
            operators=operators,
            policy=policy or FAVOURITE_POLICY,
            policy_is_due=policy is not None,
            khqr_policy=khqr_policy if KHQR in found else None,
        )
        around.say(ready_page(ready=ready))
    else:
        around.say("Ready.")
    return await supervisor.first_death()


def refuse_tls(*, variables: Variables) -> None:
    """Return if no variable asks for TLS: the sandbox and the probes speak plain text.

    :raises SettingError: one does.
    """
    unset = Path()
    for side in ("BRIDGE", "GATEWAY", "KHQR", "CLIENT"):
        for file in ("CERTIFICATE", "KEY", "CLIENT_CA", "CA"):
            name = f"{side}_TLS_{file}_PATH"
            if variables.path(name, default=unset) != unset:
                raise SettingError(
                    f"{name}: payctl up speaks plain text on this machine; unset it, or start"
                    " the services one by one"
                )


def refuse_taken(*, part: Part, addresses: tuple[Address, ...]) -> None:
    """Return if every one of `addresses` is free.

    :raises SettingError: one is taken, or is no address of this machine.
    """
    for address in addresses:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((address.host, address.port))
            except OSError as problem:
                raise SettingError(
                    f"{address} cannot be had for the {part.name} ({problem.strerror});"
                    f" choose another with {part.listen}=host:port"
                ) from None


def _make_tokens(
    around: Surroundings, tokens: TokenSettings
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Write the parts' tokens; return the terminal's own, and each operator's with the name."""
    key = ensure_keys(folder=tokens.folder)
    if key.key_id not in published_ids(path=tokens.keys_file):
        raise SettingError(
            f"JWT_KEYS_FILE: {tokens.keys_file} does not hold the key of {tokens.folder}"
        )

    def token(subject: str, scopes: tuple[str, ...], bank: str | None = DEFAULT_BANK) -> str:
        return mint_with(
            settings=tokens,
            key=key,
            subject=subject,
            scopes=scopes,
            bank=bank,
            now=around.clock(),
            lifetime=_TOKEN_LIFETIME,
        )

    for name, content in (
        ("sandbox", token("amk-sandbox", BANK_SCOPES)),
        ("app", token("customer-app", APP_SCOPES)),
        # It serves every bank, so its token is bound to none.
        ("khqr", token("khqr-service", KHQR_SCOPES, bank=None)),
    ):
        write_token(path=tokens.folder / f"{name}.token", token=content)
    # Operators see every bank, so theirs are bound to none.
    operators = tuple((name, token(name, OPERATOR_SCOPES, bank=None)) for name in OPERATORS)
    return token("developer", DEVELOPER_SCOPES), operators


def _environ(around: Surroundings, var: Path, tokens: TokenSettings) -> dict[str, str]:
    environ = dict(around.environ)
    defaults = {
        "ENVIRONMENT": "development",
        "VAR_DIR": str(var),
        "JWT_KEYS_FILE": str(tokens.keys_file),
        "SANDBOX_TOKEN_FILE": str(tokens.folder / "sandbox.token"),
        "SANDBOX_APP_TOKEN_FILE": str(tokens.folder / "app.token"),
        "GATEWAY_TOKEN_FILE": str(tokens.folder / "khqr.token"),
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    unset = Path()
    filled = {
        name: value
        for name, value in defaults.items()
        if around.variables.path(name, default=unset) == unset
    }
    return environ | filled | metrics_listens(variables=around.variables)


def _fill(around: Surroundings, environ: dict[str, str], name: str, value: str) -> None:
    """Give later parts a variable, unless the person has set it (or its file, or in .env)."""
    if not around.variables.text(name, default=""):
        environ[name] = value


async def _policies_to_show(sandbox: str) -> tuple[str | None, str | None]:
    """Return two policies with a premium due, the specification's example first if it is one."""
    limit = aiohttp.ClientTimeout(total=5)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.get(f"http://{sandbox}/sandbox/policies") as response,
    ):
        policies = (await response.json())["policies"]
    due = [policy["number"] for policy in policies if policy["due"]]
    due.sort(key=lambda number: number != FAVOURITE_POLICY)
    first, second, *_ = [*due, None, None]
    return first, second


def _write_line(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(f"{text}\n", encoding="utf-8")
    draft.replace(path)


@contextlib.contextmanager
def _only_one(var: Path) -> Iterator[None]:
    """Hold the lock of `var`; the system lets it go whatever becomes of this process."""
    var.mkdir(parents=True, exist_ok=True)
    path = var / "payctl.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f"VAR_DIR: {var} is in use by a payctl that is running already"
            ) from None
        yield
    finally:
        os.close(descriptor)
