"""`payctl doctor`: green where all is in place, red on each thing that is not.

| what is wrong                              | the check that is red                    |
|--------------------------------------------|------------------------------------------|
| nothing                                    | none                                     |
| nobody listens; nobody answers             | reach ...                                |
| a certificate of nobody we trust           | reach ...                                |
| a certificate that ends in days            | reach ...                                |
| a clock that is ten seconds off            | clock of ...                             |
| a wrong password                           | AMK takes our login                      |
| a wrong key                                | AMK takes our signature                  |
| a bill that was not paid by KHQR           | AMK vouches for a known payment          |
| no schema                                  | database schema                          |
| a database that is not there               | database, ... schema, clock              |
| a topic that is missing, or not to write   | topics, rights on topics                 |
| a stranger behind the webhook's address    | webhook from outside                     |
| a disclosed credential                     | gateway settings                         |
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chassis.kafka import KafkaOptions, TopicPlan, create_topics
from chassis.kafka_rights import Right
from chassis.settings import Variables
from gateway_svc.events import topics_of
from gateway_svc.settings import GatewaySettings
from gateway_svc.settings import read_settings as read_gateway_settings
from khqr_svc.settings import read_settings as read_khqr_settings
from payctl.bank_checks import look_up_check, sign_in_checks, verify_checks
from payctl.checks import Check, Checked, Verdict, exit_code, green, run_check, table_lines
from payctl.main import app
from payctl.store_checks import database_checks, topic_checks
from tests.payctl.answering import answering
from tests.support.kafka import KafkaOfSession
from tests.support.khqr_system import KhqrSystem, running_khqr_system


def now() -> datetime:
    return datetime.now(tz=UTC)


async def verdicts(checks: Any) -> dict[str, str]:
    return {check.name: (await run_check(check)).finding.verdict.value for check in checks}


async def finding_of(check: Check) -> Checked:
    return await run_check(check)


def environment(system: KhqrSystem) -> dict[str, str]:
    """Return the variables under which the running system is found."""
    settings = system.gateway._settings
    return {
        "VAR_DIR": str(system.var_dir),
        "DATABASE_URL": settings.database_url,
        "INTEGRATION_URL": system.sandbox_url,
        "AMK_BASE_URL": system.sandbox_url,
        "JWT_KEYS_FILE": str(system.var_dir / "jwks.json"),
        "BRIDGE_URL": system.base_url,
        "GATEWAY_TARGET": str(system.gateway.address),
        "KHQR_TARGET": str(system.gateway.address),  # it says SERVING, too
    }


@pytest.fixture
async def system(tmp_path: Path, sqlite_url: str) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(tmp_path=tmp_path, database_url=sqlite_url) as running:
        yield running


async def payctl(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))


def gateway_settings(system: KhqrSystem, **changes: Any) -> GatewaySettings:
    environ = environment(system)
    settings = read_gateway_settings(variables=Variables(environ=environ), environ=environ)
    return replace(settings, **changes)


async def test_a_running_system_is_green_and_what_was_not_asked_is_not(
    system: KhqrSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(system).items():
        monkeypatch.setenv(name, value)
    await system.code("P123456789")
    await system.operate("/sandbox/khqr/150001/pay")
    result = await payctl("doctor", "--known-bill", "150001", "--json")
    rows = {one["check"]: one for one in json.loads(result.stdout)}
    red = {name: one for name, one in rows.items() if one["verdict"] == Verdict.RED}
    assert red == {}
    assert result.exit_code == 0
    unasked = {name for name, one in rows.items() if one["verdict"] == Verdict.NOT_ASKED}
    assert unasked == {"topics", "rights on topics"}  # events go to a file here
    assert rows["AMK vouches for a known payment"]["seen"] == "bill 150001: 150.00 USD"
    table = await payctl("doctor")
    assert "3 not asked" in table.stdout  # no bill is named, too
    assert "--known-bill" in table.stdout


async def test_what_is_wrong_is_red_says_what_to_do_and_is_exit_1(
    system: KhqrSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(system).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INTEGRATION_URL", "http://127.0.0.1:1")
    result = await payctl("doctor")
    assert result.exit_code == 1
    assert "FAILED     reach Integration Service" in result.stdout
    assert "-> Check the address and whether it listens." in result.stdout


async def test_a_setting_that_cannot_be_used_is_red_and_the_rest_goes_on(
    system: KhqrSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(system).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOPIC_PREFIX", "a b")
    result = await payctl("doctor", "--json")
    rows = {one["check"]: one for one in json.loads(result.stdout)}
    assert rows["gateway settings"]["verdict"] == Verdict.RED
    assert rows["gateway settings"]["seen"].startswith("TOPIC_PREFIX: ")
    assert rows["AMK takes our login"]["verdict"] == Verdict.GREEN


async def test_a_disclosed_credential_is_red_and_not_repeated(
    system: KhqrSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(system).items():
        monkeypatch.setenv(name, value)
    disclosed = "a credential that stood in a document"
    monkeypatch.setattr("gateway_svc.settings._DISCLOSED", frozenset({_sha256(disclosed)}))
    monkeypatch.setenv("AMK_USERNAME", disclosed)
    result = await payctl("doctor", "--json")
    rows = {one["check"]: one for one in json.loads(result.stdout)}
    assert rows["gateway settings"]["verdict"] == Verdict.RED
    assert disclosed not in result.stdout


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_login_or_a_key_that_the_bank_refuses_is_red(system: KhqrSystem) -> None:
    environ = environment(system)
    khqr = read_khqr_settings(variables=Variables(environ=environ), environ=environ)
    assert await verdicts(sign_in_checks(settings=khqr)) == {"AMK takes our login": "ok"}
    await system.operate("/sandbox/faults/sign-in-401/on")
    assert await verdicts(sign_in_checks(settings=khqr)) == {"AMK takes our login": "FAILED"}
    settings = gateway_settings(system)
    bank = settings.banks["AMK"]
    assert bank.verify is not None
    broken = replace(bank, verify=replace(bank.verify, key="another key"))
    checks = verify_checks(
        settings=replace(settings, banks={"AMK": broken}), known_bill=None, clock=now
    )
    assert await verdicts(checks) == {
        "AMK takes our signature": "FAILED",
        "AMK vouches for a known payment": "not asked",
    }


async def test_a_bill_that_was_not_paid_by_khqr_is_red(system: KhqrSystem) -> None:
    await system.code("P123456789")
    checks = verify_checks(settings=gateway_settings(system), known_bill=150001, clock=now)
    assert await verdicts(checks) == {
        "AMK takes our signature": "ok",
        "AMK vouches for a known payment": "FAILED",
    }


async def test_a_look_up_that_answers_something_else_is_red(system: KhqrSystem) -> None:
    assert (await finding_of(look_up_check(settings=gateway_settings(system)))).finding.verdict == (
        Verdict.GREEN
    )
    async with answering(200, "<html>") as url:
        settings = gateway_settings(system, integration_url=url)
        checked = await finding_of(look_up_check(settings=settings))
    assert checked.finding.verdict is Verdict.RED


async def test_a_database_without_a_schema_or_none_at_all_is_red(
    system: KhqrSystem, empty_postgres_url: str
) -> None:
    checks = database_checks(
        settings=gateway_settings(system, database_url=empty_postgres_url), clock=now
    )
    assert await verdicts(checks) == {
        "database": "ok",
        "database schema": "FAILED",
        "clock of the database": "ok",
    }
    away = "postgresql+asyncpg://nobody:secret@127.0.0.1:1/none"
    checks = database_checks(settings=gateway_settings(system, database_url=away), clock=now)
    found = [await run_check(check) for check in checks]
    assert {one.finding.verdict for one in found} == {Verdict.RED}
    assert "secret" not in str(found)


async def test_a_missing_topic_is_red(system: KhqrSystem, kafka: KafkaOfSession) -> None:
    settings = gateway_settings(
        system, events_url=f"kafka://{kafka.bootstrap}", topic_prefix="nobodys"
    )
    [there, _] = topic_checks(settings=settings)
    checked = await run_check(there)
    assert checked.finding.verdict is Verdict.RED
    assert "nobodys.gateway.payment.success" in checked.finding.seen


async def test_brokers_that_are_away_are_red(system: KhqrSystem) -> None:
    checks = topic_checks(settings=gateway_settings(system, events_url="kafka://127.0.0.1:1"))
    assert await verdicts(checks) == {"topics": "FAILED", "rights on topics": "FAILED"}


async def test_topics_that_are_there_and_ours_to_write_are_green(
    system: KhqrSystem, real_kafka: KafkaOfSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gateway_settings(
        system, events_url=f"kafka://{real_kafka.bootstrap}", topic_prefix="doctor"
    )
    missing = await verdicts(topic_checks(settings=settings))
    assert missing == {"topics": "FAILED", "rights on topics": "FAILED"}
    await create_topics(
        bootstrap_servers=[real_kafka.bootstrap],
        options=KafkaOptions(),
        plans=[
            TopicPlan(name=name, partitions=1, replication_factor=1)
            for name in topics_of(prefix="doctor")
        ],
    )
    there = await verdicts(topic_checks(settings=settings))
    assert there == {"topics": "ok", "rights on topics": "ok"}

    async def reads_only(**_named: Any) -> Any:
        return {"doctor.gateway.payment.success": frozenset({Right.READ, Right.DESCRIBE})}

    monkeypatch.setattr("payctl.store_checks.rights_on", reads_only)
    [_, rights] = topic_checks(settings=settings)
    checked = await run_check(rights)
    assert checked.finding.verdict is Verdict.RED
    assert checked.finding.seen == "doctor.gateway.payment.success (no Write)"


async def test_a_check_that_breaks_or_takes_too_long_is_red_and_repeats_no_secret() -> None:
    async def breaks() -> Any:
        raise RuntimeError("password=hunter2")

    async def hangs() -> Any:
        await asyncio.Event().wait()

    broken = await run_check(Check(name="broken", ask=breaks))
    slow = await run_check(Check(name="slow", ask=hangs), limit_s=0.01)
    assert {broken.finding.verdict, slow.finding.verdict} == {Verdict.RED}
    assert "hunter2" not in str(broken)


def test_the_exit_code_is_1_only_for_what_is_red() -> None:
    fine = Checked(name="a", finding=green("well"))
    unasked = replace(fine, finding=replace(fine.finding, verdict=Verdict.NOT_ASKED))
    wrong = replace(fine, finding=replace(fine.finding, verdict=Verdict.RED, remedy="mend it"))
    assert exit_code([fine, unasked]) == 0
    assert exit_code([fine, wrong]) == 1
    assert [line for _, line in table_lines([wrong])] == [
        "FAILED     a  well",
        "              -> mend it",
    ]
