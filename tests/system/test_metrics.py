"""What the real services, each a program of its own, tell Prometheus.

| what is done                                      | what /metrics says                           |
|---------------------------------------------------|----------------------------------------------|
| a bill and a KHQR code are paid, in frames or not | each step by its own series                  |
| `docs/metrics.md` is held against the programs    | the same names, types, labels                |
| strangers send paths, methods, banks, ids, tokens | not one label that they made                 |
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.support.khqr_system import ALL_SCOPES
from tests.support.metrics import documented, scraped, series_of, values_of
from tests.support.programs import Program, running
from tests.support.system import KEY
from tests.support.tokens import write_jwks

SERVICES = {"gateway": "gateway_svc", "khqr": "khqr_svc", "bridge": "rest_bridge"}
CONFIRM = 'rpc="GatewayService/ConfirmPayment"'

# (method, path, headers): nothing of it may become a label.
HOSTILE = [
    ("GET", "/AMK/evil-path-1", {}),
    ("GET", "/evil-path-2/%00/../payments", {}),
    ("GET", "/EVILBANK/payments?query=P123456789", {}),
    ("GET", '/AMK/payments?query=evil"}', {}),
    ("GET", "/AMK/payments/999999999", {}),
    ("EVILMETHOD", "/AMK/payments", {}),
    ("PROPFIND", "/khqr", {}),
    ("DELETE", "/docs", {}),
    ("GET", "/docs/evil-file.js", {}),
    ("GET", "/AMK/payments?query=P123456789", {"X-Request-ID": "evil-request-id"}),
    ("GET", "/AMK/payments?query=P123456789", {"Authorization": "Bearer evil-token"}),
    ("GET", "/khqr?bankCode=EVILBANK&billNumber=P123456789", {}),
    ("POST", "/AMK/khqr", {}),
    ("POST", "/EVILBANK/khqr", {}),
]


@dataclass(kw_only=True)
class House:
    """The programs, and short ways to call and to look."""

    programs: dict[str, Program]
    http: aiohttp.ClientSession
    sandbox_url: str

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {KEY.token(scopes=ALL_SCOPES)}"}
        url = URL(f"http://{self.programs['bridge'].address}{path}", encoded=True)
        headers |= more.pop("headers", {})
        async with self.http.request(method, url, headers=headers, **more) as response:
            body = await response.read()
            return response.status, json.loads(body) if body[:1] == b"{" else body

    async def told(self, service: str) -> str:
        [line] = [
            json.loads(line)
            for line in self.programs[service].said().splitlines()
            if '"metrics_listening"' in line
        ]
        return await scraped(line["address"])

    async def values(self, service: str) -> dict[str, float]:
        return values_of(await self.told(service))

    async def says(self, service: str, wanted: dict[str, float]) -> None:
        """Wait until a service's numbers are these: what a loop measures takes some seconds."""
        ends_at = time.monotonic() + 20
        while True:
            values = await self.values(service)
            other = {
                name: values.get(name) for name, one in wanted.items() if values.get(name) != one
            }
            if not other:
                return
            assert time.monotonic() < ends_at, other
            await asyncio.sleep(0.1)


@pytest.fixture
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "sandbox.token").write_text(KEY.token(sub="amk"))
    (keys / "app.token").write_text(KEY.token(sub="app", scopes=ALL_SCOPES))
    (keys / "khqr.token").write_text(
        KEY.token(sub="khqr", scopes=["payments:inquire", "khqr:record"], bank=None)
    )
    environ = {
        "VAR_DIR": str(tmp_path),
        "JWT_KEYS_FILE": str(write_jwks(tmp_path / "jwks.json", KEY)),
        "METRICS_LISTEN": ":0",
        "GRPC_STREAMS": getattr(request, "param", "1"),
        **{f"{name}_LISTEN": "127.0.0.1:0" for name in ("SANDBOX", "GATEWAY", "KHQR", "BRIDGE")},
    }
    async with AsyncExitStack() as stack:

        async def start(module: str) -> Program:
            program = running(module=module, environ=environ, folder=tmp_path)
            return await stack.enter_async_context(program)

        sandbox = await start("amk_sandbox")
        url = f"http://{sandbox.address}"
        environ |= {"INTEGRATION_URL": url, "AMK_BASE_URL": url}
        programs = {"gateway": await start("gateway_svc")}
        environ["GATEWAY_TARGET"] = programs["gateway"].address
        programs["khqr"] = await start("khqr_svc")
        environ["KHQR_TARGET"] = programs["khqr"].address
        programs["bridge"] = await start("rest_bridge")
        (tmp_path / "bridge.url").write_text(f"http://{programs['bridge'].address}")
        http = await stack.enter_async_context(aiohttp.ClientSession())
        found = House(programs=programs, http=http, sandbox_url=url)
        async with asyncio.timeout(20):
            while (await found.call("GET", "/readyz"))[0] != 200:  # noqa: ASYNC110 - a program's
                await asyncio.sleep(0.1)
        yield found


async def _pay_a_bill(house: House) -> None:
    status, answer = await house.call("GET", "/AMK/payments?query=P123456789")
    assert status == 200, answer
    due = answer["data"]
    notice = {
        "id": due["id"], "policyNumber": due["policyNumber"], "amount": due["amount"],
        "currency": due["currency"], "bankTransactionId": "T1", "payer": "A",
        "paidDate": "20251007120000",
    }  # fmt: skip
    status, answer = await house.call("POST", "/AMK/payments", json=notice)
    assert status == 200, answer


async def _pay_a_code(house: House) -> None:
    status, answer = await house.call("GET", "/khqr?bankCode=AMK&billNumber=P100000003")
    assert status == 200, answer
    bill_id = answer["data"]["paymentId"]
    async with house.http.post(f"{house.sandbox_url}/sandbox/khqr/{bill_id}/pay") as response:
        assert response.status < 300


@pytest.mark.parametrize("house", ["1", "0"], indirect=True, ids=["in frames", "each alone"])
async def test_the_road_of_a_payment_is_seen_at_each_step(house: House) -> None:
    await _pay_a_bill(house)
    await _pay_a_code(house)
    await house.says(
        "gateway",
        {
            f'rpc_calls_total{{outcome="OK",{CONFIRM}}}': 1,
            f"rpc_duration_seconds_count{{{CONFIRM}}}": 1,
            'rpc_calls_total{outcome="OK",rpc="GatewayService/ConfirmKhqrPayment"}': 1,
            _payment("BILL"): 1,
            _payment("KHQR"): 1,
            'bank_verifications_total{bank="AMK",outcome="paid"}': 1,
            _attempts("AMK", "payment-verify"): 1,
            _attempts("integration", "premium"): 2,
            'outbound_breaker_state{endpoint="payment-verify",peer="AMK",state="closed"}': 1,
            'outbound_breaker_state{endpoint="payment-verify",peer="AMK",state="open"}': 0,
            'group_commit_batch_size_count{writer="notices"}': 1,
            'group_commit_batch_size_sum{writer="khqr_bookings"}': 1,
            'relay_events_total{outcome="published",topic="dev.gateway.payment.success"}': 2,
            'notices_open{state="VERIFYING"}': 0,
            'exceptions_open{channel="KHQR",hold="UNAPPLIED_PAYMENT"}': 0,
            "outbox_unpublished_events": 0,
            "relay_is_leader": 1,
            "service_ready": 1,
            "calls_under_way": 0,
            "database_connections_limit": 5,
        },
    )
    await house.says(
        "khqr",
        {
            'rpc_calls_total{outcome="OK",rpc="KhqrService/GenerateKhqr"}': 1,
            'bank_tokens_total{bank="AMK",outcome="signed_in"}': 1,
            _attempts("AMK", "sign-in"): 1,
            _attempts("AMK", "qr-generator"): 1,
            "service_ready": 1,
        },
    )
    await house.says(
        "bridge",
        {
            'http_requests_total{method="GET",route="/{bankCode}/payments",status="200"}': 1,
            'http_requests_total{method="POST",route="/{bankCode}/payments",status="200"}': 1,
            'http_requests_total{method="POST",route="/{bankCode}/khqr",status="200"}': 1,
            'http_requests_total{method="GET",route="/khqr",status="200"}': 1,
            'http_duration_seconds_count{route="/{bankCode}/payments"}': 2,
        },
    )


async def test_the_document_is_what_the_programs_serve(house: House) -> None:
    await _pay_a_bill(house)
    await house.says("gateway", {'notices_open{state="VERIFYING"}': 0})  # measured once
    table = documented()
    for service in SERVICES:
        served = series_of(await house.told(service))
        assert served == table[service], service
    assert table.keys() == SERVICES.keys()


async def test_a_stranger_makes_no_series(house: House) -> None:
    for method, path, headers in HOSTILE:
        await house.call(method, path, headers=headers)
    before = {service: set(await house.values(service)) for service in SERVICES}
    for number in range(3):
        for method, path, headers in HOSTILE:
            sent = {name: value.replace("evil", f"evil{number}") for name, value in headers.items()}
            await house.call(method, path.replace("evil", f"evil{number}"), headers=sent)
    for service in SERVICES:
        text = await house.told(service)
        assert "evil" not in text.lower()
        assert set(values_of(text)) - before[service] == set()
    values = await house.values("bridge")
    assert values['http_requests_total{method="GET",route="unmatched",status="404"}'] >= 4
    assert values['http_requests_total{method="other",route="/khqr",status="405"}']
    unknown = 'rpc_calls_total{outcome="BANK_NOT_FOUND",rpc="GatewayService/InquirePayment"}'
    assert (await house.values("gateway"))[unknown] == 4


def _payment(channel: str) -> str:
    return (
        f'payments_recorded_total{{bank="AMK",channel="{channel}",currency="USD",state="APPLIED"}}'
    )


def _attempts(peer: str, endpoint: str) -> str:
    return f'outbound_attempts_total{{endpoint="{endpoint}",outcome="2xx",peer="{peer}"}}'
