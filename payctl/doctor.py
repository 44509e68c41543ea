"""`payctl doctor`: whether all is in place for bank, insurer and gateway to meet.

The specification's integration checklist as checks: addresses and certificates, credentials,
signature, clocks, database and schema, topics, the webhook from outside. Nothing is changed.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from chassis.kafka import servers_of_url
from chassis.settings import SettingError, Variables, own_variables
from gateway_svc.settings import GatewaySettings
from gateway_svc.settings import read_settings as read_gateway_settings
from khqr_svc.settings import KhqrSettings
from khqr_svc.settings import read_settings as read_khqr_settings
from payctl.api import AsJson, Url, read_url
from payctl.bank_checks import look_up_check, sign_in_checks, verify_checks
from payctl.checks import (
    Check,
    Checked,
    Finding,
    Verdict,
    exit_code,
    green,
    not_asked,
    red,
    run_check,
    table_lines,
)
from payctl.network_checks import (
    Place,
    clock_check,
    connection_checks,
    place_of_url,
    webhook_check,
)
from payctl.quiet import quiet_logs
from payctl.store_checks import database_checks, service_checks, topic_checks

_COLOURS = {
    Verdict.GREEN: typer.colors.GREEN,
    Verdict.RED: typer.colors.RED,
    Verdict.NOT_ASKED: typer.colors.YELLOW,
}
_POSTGRESQL_PORT = 5432


def doctor_command(
    *,
    known_bill: Annotated[
        int | None, typer.Option("--known-bill", min=1, help="One that was paid by KHQR.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Where the bank finds our webhooks.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Check everything that must be in place; 1 if something is not."""
    variables = own_variables()
    checks = list(
        all_checks(variables=variables, known_bill=known_bill, public_url=public_url, url=url)
    )
    with quiet_logs():
        checked = asyncio.run(_run(checks, shown=not as_json and sys.stderr.isatty()))
    if as_json:
        typer.echo(json.dumps([_stated(one) for one in checked]))
    else:
        for verdict, line in table_lines(checked):
            typer.secho(line, fg=_COLOURS[verdict])  # colours are left out of a pipe
        typer.echo(_sum(checked))
    raise typer.Exit(exit_code(checked))


def all_checks(
    *, variables: Variables, known_bill: int | None, public_url: str | None, url: str | None
) -> Iterator[Check]:
    """Yield every check; what cannot be read of the settings is red, and the rest goes on."""
    environ = variables.environ
    gateway = _read(lambda: read_gateway_settings(variables=variables, environ=environ))
    khqr = _read(lambda: read_khqr_settings(variables=variables, environ=environ))
    yield _settings_check("gateway", gateway)
    yield _settings_check("khqr", khqr)
    bridge = _bridge(variables, url)
    if isinstance(gateway, GatewaySettings):
        yield from connection_checks(_gateway_places(gateway))
        yield from _clocks(gateway)
        yield from verify_checks(settings=gateway, known_bill=known_bill, clock=_now)
        yield look_up_check(settings=gateway)
        yield from database_checks(settings=gateway, clock=_now)
        yield from topic_checks(settings=gateway)
    if isinstance(khqr, KhqrSettings):
        yield from connection_checks(_khqr_places(khqr))
        yield from sign_in_checks(settings=khqr)
        yield from service_checks(
            gateway=khqr.gateway_target,
            khqr=variables.text("KHQR_TARGET", default=str(khqr.listen)),
            bridge=bridge,
            plaintext=khqr.client_tls is None,
        )
    yield _public_check(public_url or bridge, gateway)


async def _run(checks: Sequence[Check], *, shown: bool) -> list[Checked]:
    checked = []
    with typer.progressbar(
        checks, label="Checking", file=sys.stderr, hidden=not shown, item_show_func=_named
    ) as waiting:
        for check in waiting:
            checked.append(await run_check(check))  # noqa: PERF401 - a bar moves with each
    return checked


def _named(check: Check | None) -> str:
    return "" if check is None else check.name


def _read(read: Callable[[], Any]) -> Any:
    """Return the settings, or the complaint about them."""
    try:
        return read()
    except SettingError as problem:
        return str(problem)


def _settings_check(name: str, read: Any) -> Check:
    async def told() -> Finding:
        if isinstance(read, str):
            return red(read, remedy="Mend the setting; nothing that needs it was checked.")
        return green("readable, secrets there, none of them disclosed")

    return Check(name=f"{name} settings", ask=told)


def _bridge(variables: Variables, url: str | None) -> str | None:
    try:
        return read_url(variables=variables, url=url)
    except SettingError:
        return None


def _gateway_places(settings: GatewaySettings) -> Iterator[Place]:
    yield place_of_url(name="Integration Service", url=settings.integration_url)
    for code, bank in settings.banks.items():
        if bank.verify is not None:
            yield place_of_url(name=f"{code} payment-verify", url=bank.verify.url)
    if settings.database_url.startswith("postgresql"):
        parts = urlsplit(settings.database_url)
        yield Place(
            name="database",
            host=parts.hostname or "",
            port=parts.port or _POSTGRESQL_PORT,
            tls=False,
        )
    if settings.events_url.startswith("kafka"):
        for server in servers_of_url(settings.events_url):
            host, _, port = server.rpartition(":")
            yield Place(name=f"broker {server}", host=host.strip("[]"), port=int(port), tls=False)


def _khqr_places(settings: KhqrSettings) -> Iterator[Place]:
    for code, bank in settings.banks.items():
        if bank.qr is not None:
            yield place_of_url(name=f"{code} sign-in and QR", url=bank.qr.base_url)


def _clocks(settings: GatewaySettings) -> Iterator[Check]:
    yield clock_check(name="the insurer", url=settings.integration_url, clock=_now)
    for code, bank in settings.banks.items():
        if bank.verify is not None:
            yield clock_check(name=code, url=bank.verify.url, clock=_now)


def _public_check(url: str | None, gateway: Any) -> Check:
    if url is None or not isinstance(gateway, GatewaySettings):

        async def nobody_knows() -> Finding:
            return not_asked("nobody says where it is", remedy="--public-url https://...")

        return Check(name="webhook from outside", ask=nobody_knows)
    bank = next(iter(gateway.banks))
    return webhook_check(url=url.rstrip("/"), path=f"/{bank}/payments")


def _stated(one: Checked) -> dict[str, str]:
    return {
        "check": one.name,
        "verdict": one.finding.verdict.value,
        "seen": one.finding.seen,
        "remedy": one.finding.remedy,
    }


def _sum(checked: Sequence[Checked]) -> str:
    counts = dict.fromkeys(Verdict, 0)
    for one in checked:
        counts[one.finding.verdict] += 1
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())


def _now() -> datetime:
    return datetime.now(tz=UTC)
