"""One trace from the caller's HTTP to Kafka, over every process it passes.

| what is done                          | what the receiver gets                                   |
|---------------------------------------|----------------------------------------------------------|
| a bill is asked for and paid          | one tree each, under the caller's own span               |
| a code is drawn, paid and verified    | the same, with the bank's exchanges and the transactions |
| all of it                             | no token, payer, policy number or body in any span       |
| the bridge is a program of its own    | it sends what it has before it ends                      |
| the receiver is away                  | the program ends all the same, within seconds            |
| nobody said where traces go           | OpenTelemetry is not even imported                       |
| a stranger's method                   | names no span                                            |
"""

import subprocess
import sys
from pathlib import Path

import aiohttp

from tests.support.khqr_system import ALL_SCOPES, KhqrSystem, running_khqr_system
from tests.support.otlp import Receiver, Span, otlp_receiver
from tests.support.programs import Program, running
from tests.support.system import KEY

CALLER = "00f067aa0ba902b7"
TRACES = {name: f"{number:032x}" for number, name in enumerate(("due", "paid", "code", "told"), 1)}
NOTICE = (
    b'{"invoice_number":"%d","status":"SUCCESS","merchant_number":"900000000290002",'
    b'"paid_amount":89.50,"currency":"USD","paid_datetime":"2025-10-07 12:00:00.123456"}'
)
PAID = (
    b'{"id":150001,"policyNumber":"P123456789","amount":150.00,"currency":"USD",'
    b'"bankTransactionId":"T1","payer":"John Doe","paidDate":"20251007120000"}'
)
SECRETS = ("John Doe", "P123456789", "P100000003", "Bearer", "eyJ", "900000000290002")


async def _traffic(system: KhqrSystem) -> None:
    async def call(trace: str, method: str, path: str, body: bytes | None = None) -> int:
        parent = f"00-{TRACES[trace]}-{CALLER}-01"
        answer = await system.call(method, path, body, traceparent=parent)
        return answer.status

    await system.operate("/sandbox/faults/webhook-never/on")
    assert await call("due", "GET", "/AMK/payments?query=P123456789") == 200
    assert await call("paid", "POST", "/AMK/payments", PAID) == 200
    assert await call("code", "GET", "/khqr?bankCode=AMK&billNumber=P100000003") == 200
    await system.operate("/sandbox/khqr/150002/pay")
    assert await call("told", "POST", "/AMK/khqr", NOTICE % 150002) == 200
    assert (await system.call("EVIL", "/khqr")).status in {400, 405}


async def _received(folder: Path) -> Receiver:
    async with otlp_receiver() as receiver:
        async with running_khqr_system(
            tmp_path=folder,
            database_url=f"sqlite+aiosqlite:///{folder / 'traced.sqlite'}",
            environ={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
        ) as system:
            await _traffic(system)
        return receiver  # every process has sent what it had


def _tree(spans: list[Span]) -> set[str]:
    """Return each span as its way from the caller; fail if one hangs in the air."""
    by_id = {one.span_id: one for one in spans}

    def way(one: Span) -> str:
        here = f"{one.service}: {one.name}"
        if one.parent_id == CALLER:
            return here
        return f"{way(by_id[one.parent_id])} > {here}"

    return {way(one) for one in spans}


async def test_every_call_is_one_tree_from_http_to_the_bank_and_the_topics(tmp_path: Path) -> None:
    receiver = await _received(tmp_path)

    top = "bridge: GET /{bankCode}/payments > gateway: GatewayService/InquirePayment"
    assert _tree(receiver.of_trace(TRACES["due"])) == {
        top.partition(" > ")[0],
        top,
        f"{top} > gateway: integration premium",
        f"{top} > gateway: group commit",
        f"{top} > gateway: group commit > gateway: transaction inquire",
    }

    top = "bridge: POST /{bankCode}/payments > gateway: GatewayService/ConfirmPayment"
    assert _tree(receiver.of_trace(TRACES["paid"])) == {
        top.partition(" > ")[0],
        top,
        f"{top} > gateway: group commit",
        f"{top} > gateway: group commit > gateway: transaction confirm",
        f"{top} > gateway: publish dev.gateway.payment.confirmed",
        f"{top} > gateway: publish dev.gateway.payment.success",
    }

    top = "bridge: GET /khqr > khqr: KhqrService/GenerateKhqr"
    tree = _tree(receiver.of_trace(TRACES["code"]))
    assert tree >= {
        f"{top} > khqr: AMK sign-in",
        f"{top} > khqr: AMK qr-generator",
        f"{top} > gateway: GatewayService/InquirePayment > gateway: integration premium",
        f"{top} > gateway: GatewayService/GetLiveKhqr",
        f"{top} > gateway: GatewayService/RecordKhqr",
        f"{top} > gateway: GatewayService/RecordKhqr > gateway: publish dev.khqr.generated-event",
    }

    top = "bridge: POST /{bankCode}/khqr > gateway: GatewayService/ConfirmKhqrPayment"
    assert _tree(receiver.of_trace(TRACES["told"])) == {
        top.partition(" > ")[0],
        top,
        f"{top} > gateway: group commit",
        f"{top} > gateway: group commit > gateway: transaction khqr_book",
        f"{top} > gateway: group commit > gateway: transaction khqr_take",
        f"{top} > gateway: AMK payment-verify",
        f"{top} > gateway: group commit > gateway: transaction khqr_record",
        f"{top} > gateway: publish dev.gateway.payment.verified",
        f"{top} > gateway: publish dev.gateway.payment.confirmed",
        f"{top} > gateway: publish dev.gateway.payment.success",
    }

    # What leads from an event to its call where the trace is not at hand any more.
    for trace in TRACES.values():
        ids = {
            one.attributes["request_id"]
            for one in receiver.of_trace(trace)
            if "request_id" in one.attributes
        }
        assert len(ids) == 1

    sent = b"".join(receiver.bodies)
    for secret in (*SECRETS, KEY.token(scopes=ALL_SCOPES)[:40]):
        assert secret.encode() not in sent
    assert b"EVIL" not in sent


async def test_a_program_sends_what_it_has_before_it_ends(tmp_path: Path) -> None:
    async with otlp_receiver() as receiver:
        await _asked_once(tmp_path, receiver.url)
        assert [(one.service, one.name) for one in receiver.spans] == [("bridge", "GET /livez")]


async def test_a_receiver_that_is_away_keeps_no_program_from_ending(tmp_path: Path) -> None:
    program = await _asked_once(tmp_path, "http://127.0.0.1:1")
    assert program.process.returncode == 0  # else it had to be killed after 15 s
    assert "token" not in program.said()


async def _asked_once(folder: Path, endpoint: str) -> Program:
    environ = {"BRIDGE_LISTEN": "127.0.0.1:0", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    async with (
        running(module="rest_bridge", environ=environ, folder=folder) as program,
        aiohttp.ClientSession() as http,
        http.get(f"http://{program.address}/livez") as answer,
    ):
        assert answer.status == 200
    return program


def test_where_nobody_listens_nothing_is_imported() -> None:
    script = (
        "import sys, gateway_svc.service, khqr_svc.service, rest_bridge.service;"
        "from gateway_svc.tracing import GatewayTracing;"
        "from chassis.database import Database;"
        "plain = GatewayTracing(endpoint=None);"
        "assert type(plain.database(url='sqlite+aiosqlite:///x')) is Database;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
