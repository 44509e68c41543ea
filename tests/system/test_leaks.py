"""Secrets and people are in nothing that leaves a process, wherever they were fed in.

Bridge, gateway and KHQR service run as programs of their own at LOG_LEVEL=DEBUG. A canary is a
value that nobody else would write.

| fed in                                              | looked for in                         |
|-----------------------------------------------------|---------------------------------------|
| every header, query and body field, good and broken | the answer (but what the contract has) |
| tokens good, bad and deep; hostile gRPC metadata    | every line of every process            |
| every answer of the bank and of the insurer         | the events                             |
| a row that the database refuses; a broker's refusal | the gRPC status; the metrics           |
| settings that are wrong at the start                | the one line of the refusal            |
"""

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import grpc
import pytest
from sqlalchemy.engine import make_url

from tests.support.canaries import Canaries
from tests.support.programs import Program, running
from tests.support.sasl_broker import refusing_broker
from tests.support.talkative import DUE, ODD_POLICIES, Talkative, talkative
from tests.support.tokens import SigningKey, write_jwks

KEY = SigningKey(key_id="test")
SCOPES = ("payments:inquire", "payments:confirm", "khqr:generate")
BANKS = """
[AMK]
currencies = ["USD", "KHR"]
merchant_id = "900000000290002"
store_id = "800000000270001"
terminal_id = "70000002"
[AMK.sign_in]
username = "env:AMK_USERNAME"
password = "file:password"
[AMK.qr]
[AMK.verify]
path = "/verify"
[AMK.signing]
key = "env:AMK_HMAC_KEY"
"""
BILL = {
    "id": 150001,
    "policyNumber": DUE,
    "amount": 150.00,
    "currency": "USD",
    "bankTransactionId": "AMK202510070001",
    "payer": "John Doe",
    "paidDate": "20251007120000",
}
KHQR = {
    "invoice_number": "150001",
    "status": "SUCCESS",
    "merchant_number": "900000000290002",
    "paid_amount": 150.00,
    "currency": "USD",
    "paid_datetime": "2025-10-07 12:00:00.123456",
}
PEOPLE_OF_AN_INQUIRY = {"payer", "payer-khmer", "khmer"}  # the contract has `payer` there


@dataclass(kw_only=True)
class Leaks:
    """A running house, and everything that came out of it."""

    canaries: Canaries
    partner: Talkative
    folder: Path
    programs: dict[str, Program]
    http: aiohttp.ClientSession
    database_url: str
    statuses: list[int]

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        may_tell: set[str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send one request; its answer may tell the canaries of these labels alone."""
        merged = {"Authorization": f"Bearer {KEY.token(scopes=SCOPES)}"}
        if body is not None:
            merged["Content-Type"] = "application/json"
        merged |= headers or {}
        url = f"http://{self.programs['rest_bridge'].address}{path}"
        async with self.http.request(method, url, data=body, headers=merged) as response:
            text = f"{response.headers}\n{(await response.read()).decode()}"
            self.statuses.append(response.status)
        assert self.canaries.found_in(text) <= (may_tell or set()), (method, path, text)

    async def raw(self, request: str) -> None:
        """Send what is no HTTP."""
        host, _, port = self.programs["rest_bridge"].address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode())
        answer = (await asyncio.wait_for(reader.read(), 20)).decode()
        writer.close()
        assert answer[:13] in ("HTTP/1.0 400 ", "HTTP/1.1 400 "), answer
        assert not self.canaries.found_in(answer), answer

    async def call(self, module: str, method: str, request: bytes, **metadata: str) -> None:
        """Call a service past the bridge."""
        async with grpc.aio.insecure_channel(self.programs[module].address) as channel:
            given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
            try:
                call: Any = channel.unary_unary(method)
                await call(request, timeout=5, metadata=given)
            except grpc.aio.AioRpcError as error:
                told = f"{error.details()} {error.trailing_metadata()} {error.initial_metadata()}"
                assert not self.canaries.found_in(told), told


def lines_of(program: Program) -> Iterator[dict[str, Any]]:
    """Walk what a program said, each line of it JSON in ASCII."""
    for line in program.said().splitlines():
        assert line.isascii(), line
        yield json.loads(line)


@pytest.fixture(params=["sqlite, log", "postgresql, kafka"])
async def leaks(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Leaks]:
    fed = Canaries()
    is_laptop = str(request.param).startswith("sqlite")
    async with AsyncExitStack() as stack:
        if is_laptop:
            url = request.getfixturevalue("sqlite_url")
            events: dict[str, str] = {}
        else:
            # The test's server trusts whoever comes, with whatever password.
            url = str(
                make_url(request.getfixturevalue("postgres_url"))
                .set(password=fed("database-password"))
                .render_as_string(hide_password=False)
            )
            broker = await stack.enter_async_context(refusing_broker(says=fed("broker-says")))
            events = {
                "EVENTS_URL": f"kafka://{broker}",
                "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "KAFKA_SASL_USERNAME": fed("kafka-username"),
                "KAFKA_SASL_PASSWORD": fed("kafka-password"),
            }
        partner = await stack.enter_async_context(talkative(canaries=fed))
        programs = await stack.enter_async_context(
            programs_running(tmp_path, fed, partner, events | {"DATABASE_URL": url})
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Leaks(
            canaries=fed,
            partner=partner,
            folder=tmp_path,
            programs=programs,
            http=http,
            database_url=url,
            statuses=[],
        )


@asynccontextmanager
async def programs_running(
    folder: Path, fed: Canaries, partner: Talkative, environ: dict[str, str]
) -> AsyncIterator[dict[str, Program]]:
    async with AsyncExitStack() as stack:
        programs: dict[str, Program] = {}
        environ = house(folder, fed, partner) | environ
        for module, gives in (
            ("gateway_svc", "GATEWAY_TARGET"),
            ("khqr_svc", "KHQR_TARGET"),
            ("rest_bridge", "BRIDGE_URL"),
        ):
            programs[module] = await stack.enter_async_context(
                running(module=module, environ=environ, folder=folder)
            )
            environ[gives] = programs[module].address
        yield programs


def house(folder: Path, fed: Canaries, partner: Talkative) -> dict[str, str]:
    """Return the environment of all three, its files written."""
    (folder / "banks.toml").write_text(BANKS)
    (folder / "password").write_text(fed("amk-password"))
    own = KEY.token(sub=fed("own-subject"), scopes=["payments:inquire", "khqr:record"], bank=None)
    (folder / "khqr.token").write_text(own)
    return {
        "LOG_LEVEL": "DEBUG",
        "METRICS_LISTEN": "127.0.0.1:0",
        "VAR_DIR": str(folder),
        "BANKS_FILE": str(folder / "banks.toml"),
        "JWT_KEYS_FILE": str(write_jwks(folder / "jwks.json", KEY)),
        "GATEWAY_TOKEN_FILE": str(folder / "khqr.token"),
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "KHQR_LISTEN": "127.0.0.1:0",
        "BRIDGE_LISTEN": "127.0.0.1:0",
        "INTEGRATION_URL": partner.base_url,
        "AMK_BASE_URL": partner.base_url,
        "AMK_USERNAME": fed("amk-username"),
        "AMK_HMAC_KEY": fed("amk-hmac-key"),
    }


async def test_nothing_that_was_fed_in_comes_out(leaks: Leaks) -> None:
    fed = leaks.canaries
    await leaks.ask("GET", f"/AMK/payments?query={DUE}", may_tell=PEOPLE_OF_AN_INQUIRY)
    for policy in ODD_POLICIES:
        await leaks.ask("GET", f"/AMK/payments?query={policy}")
    query = f"query={fed('query')}&{fed('named')}=1&x={fed('x')}"
    # A parameter or member that we do not know is named to the one who sent it.
    await leaks.ask("GET", f"/AMK/payments?{query}", may_tell={"named"})
    await leaks.ask("GET", f"/{fed('path')}/payments?query={DUE}")
    await leaks.ask("GET", f"/AMK/payments/{fed('path-id')}")
    await with_hostile_headers(leaks)
    for bank in (fed("bank-code"), f'{{"id":"AMK","bank":"{fed("bank-name")}"}}', "{"):
        await leaks.ask("GET", f"/khqr?bankCode={bank}&billNumber={DUE}")
    for _ in range(12):  # the bank's answers take turns
        await leaks.ask("GET", f"/khqr?bankCode=AMK&billNumber={DUE}")
    await with_every_field(leaks)  # at last it pays the bill
    await without_http(leaks)
    await past_the_bridge(leaks)
    await sabotage(leaks)
    body = BILL | {"payer": fed("sabotaged-payer"), "bankTransactionId": "AMK202510070002"}
    await leaks.ask("POST", "/AMK/payments", body=json.dumps(body).encode())
    for page in ("/", "/livez", "/readyz", "/openapi.json", "/docs", "/metrics"):
        await leaks.ask("GET", page)
    await until_published_or_refused(leaks)
    await with_metrics(leaks)
    for module, program in leaks.programs.items():
        lines = list(lines_of(program))
        assert any(line["level"] == "debug" for line in lines), module
        assert not fed.found_in(program.said()), (module, fed.found_in(program.said()))
    met = {200, 400, 401, 404, 405, 409, 413, 415, 500, 502, 503}
    assert met <= set(leaks.statuses), met - set(leaks.statuses)
    assert {"sign-in", "generator", "verify"} <= set(leaks.partner.asked)
    gateway = leaks.programs["gateway_svc"].said()
    assert "call_failed" in gateway  # what the database refused
    events = leaks.folder / "events.jsonl"
    if events.exists():
        assert events.read_text().count("payment.success") == 1
        assert not fed.found_in(events.read_text())
    else:
        assert "outbox_row_waits" in gateway  # what the broker refused
        assert "aiokafka" in gateway


async def until_published_or_refused(leaks: Leaks) -> None:
    """Wait for the relay, which works on its own."""
    events, gateway = leaks.folder / "events.jsonl", leaks.programs["gateway_svc"]
    async with asyncio.timeout(20):
        while "outbox_row_waits" not in gateway.said() and (  # noqa: ASYNC110 - another process
            not events.exists() or "payment.success" not in events.read_text()
        ):
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # what follows in its wake


async def with_metrics(leaks: Leaks) -> None:
    """Read the numbers of every program that tells them."""
    told = [
        line["address"]
        for program in leaks.programs.values()
        for line in lines_of(program)
        if line["event"] == "metrics_listening"
    ]
    assert told
    for address in told:
        async with leaks.http.get(f"http://{address}/metrics") as response:
            text = await response.text()
        assert response.status == 200
        assert "# TYPE" in text
        assert not leaks.canaries.found_in(text)


async def with_hostile_headers(leaks: Leaks) -> None:
    fed = leaks.canaries
    path = f"/AMK/payments?query={DUE}"
    deep = base64.urlsafe_b64encode(b"[" * 2500).decode()
    for given in (
        f"Bearer {fed('bad-token')}",
        f"Basic {fed('basic')}",
        fed("no-scheme"),
        f"Bearer {KEY.token(sub=fed('subject'), scopes=[fed('scope')])}",
        f"Bearer {KEY.token(sub=fed('other-bank-subject'), bank=fed('other-bank')[:9])}",
        f"Bearer {KEY.token(sub=fed('expired'), exp=1)}",
        f"Bearer {KEY.token(sub=fed('audience'), aud=fed('aud'))}",
        f"Bearer {SigningKey(key_id=fed('kid')).token(sub=fed('stranger'))}",
        f"Bearer {deep}.{deep[:100]}.x",
    ):
        await leaks.ask("GET", path, headers={"Authorization": given})
    for name in (
        "X-Request-ID",
        "Cookie",
        "User-Agent",
        "Referer",
        "X-Forwarded-For",
        "traceparent",
        "X-Api-Key",
        "Accept",
        "Idempotency-Key",
        "Content-Encoding",
        "Content-Type",
    ):
        body = json.dumps(BILL | {"id": 9, "bankTransactionId": "AMK9"}).encode()
        hostile = {name: f'{fed(name)} "quoted" \x80'}
        await leaks.ask("POST", "/AMK/payments", body=body, headers=hostile)
    await leaks.ask("PUT", "/AMK/payments", body=fed("put").encode())


async def with_every_field(leaks: Leaks) -> None:
    """Put a canary into each field, as text, in an object, as a member; and break the body."""
    fed = leaks.canaries
    for path, good in (("/AMK/payments", BILL), ("/AMK/khqr", KHQR)):
        for field in good:
            label = f"{path} {field}"
            for value in (
                fed(label),
                f"{fed(label)}\n{fed.khmer(label)}",
                {fed("member"): fed(label)},
                [fed(label)],
                f"{fed(label)}" * 9,
            ):
                body = json.dumps(good | {field: value}, ensure_ascii=False).encode()
                # A transaction id is an identifier, in answers, events and logs alike.
                if (field, value) != ("bankTransactionId", fed(label)):
                    await leaks.ask("POST", path, body=body, may_tell={"member"})
        text = json.dumps(good)
        for broken in (
            f'{text[:-1]},"x":"{fed("unknown member")}"}}',
            f'{text[:-1]},"status":"{fed("given twice")}"}}',
            f"{text[:-1]}, {fed('no json')}",
            f'"{fed("a text")}"',
            f'{text[:-1]},"x":{"[" * 900}"{fed("deep")}"',
            fed("not even"),
            f'{{"x":"{fed("large") * 4000}"}}',
        ):
            await leaks.ask("POST", path, body=broken.encode())
        await leaks.ask("POST", path, body=f'"{fed("latin")}\xff'.encode("latin-1"))
        for payer in (fed("payer-told"), fed.khmer("payer-told-khmer")):
            told = json.dumps(good | {"payer": payer}, ensure_ascii=False).encode()
            await leaks.ask("POST", path, body=told)


async def without_http(leaks: Leaks) -> None:
    fed = leaks.canaries
    for request in (
        f"{fed('garbage')}\r\n\r\n",
        f"GET /{fed('blank')} {fed('target')} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\n{fed('header')} : {fed('value')}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX: {fed('control')}\x00\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX: {fed('long') * 1000}\r\n\r\n",
        f"POST /AMK/payments HTTP/1.1\r\nHost: x\r\nContent-Length: {fed('length')}\r\n\r\n",
    ):
        await leaks.raw(request)


async def past_the_bridge(leaks: Leaks) -> None:
    fed = leaks.canaries
    own = f"Bearer {KEY.token(scopes=SCOPES)}"
    deep = base64.urlsafe_b64encode(b"[" * 5000).decode()
    for module, method in (
        ("gateway_svc", "/payments.gateway.v1.GatewayService/InquirePayment"),
        ("gateway_svc", f"/payments.gateway.v1.GatewayService/{fed('method')}"),
        ("khqr_svc", "/payments.khqr.v1.KhqrService/GenerateKhqr"),
    ):
        await leaks.call(module, method, fed("no proto").encode(), authorization=own)
        await leaks.call(module, method, b"", authorization=f"Bearer {fed('rpc-token')}")
        await leaks.call(module, method, b"", authorization=f"Bearer {deep}.{deep[:9]}.x")
        hostile = {"x_request_id": f'{fed("rpc-id")}"{"x" * 200}', "x_other": fed("rpc-other")}
        await leaks.call(module, method, b"", authorization=own, **hostile)


async def sabotage(leaks: Leaks) -> None:
    """Let the database refuse every further notice, quoting its row."""
    if leaks.database_url.startswith("sqlite"):
        with sqlite3.connect(leaks.database_url.partition("///")[2]) as connection:
            connection.execute(
                "CREATE TRIGGER sabotage BEFORE INSERT ON notices BEGIN"
                f" SELECT RAISE(ABORT, '{leaks.canaries('sqlite-says')}'); END"
            )
        connection.close()
        return
    direct = await asyncpg.connect(leaks.database_url.replace("+asyncpg", ""))
    # PostgreSQL's complaint quotes the whole row: "DETAIL: Failing row contains (...)".
    await direct.execute(
        "ALTER TABLE notices ADD CONSTRAINT sabotage CHECK (payer IS NULL) NOT VALID"
    )
    await direct.close()
