"""A bridge in time: deadlines, readiness, drain, and the process itself."""

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from chassis.settings import Variables
from rest_bridge.settings import plain_http_places, read_settings
from tests.rest_bridge.fakes import BEARER, Stage, served

INQUIRY = "/AMK/payments?query=P123456789"
EVERYONE = {"WEBHOOK_ALLOW": "0.0.0.0/0,::/0"}
# environment -> what the one line on standard error says
REFUSED_STARTS = [
    ({"BRIDGE_LISTEN": "nowhere"}, "BRIDGE_LISTEN: must be host:port"),
    ({"BRIDGE_LISTEN": "127.0.0.1:70000"}, "BRIDGE_LISTEN: port must be below 65536"),
    ({"BRIDGE_LISTEN": "203.0.113.1:0"}, "203.0.113.1"),
    ({"GATEWAY_TARGET": "a b"}, "GATEWAY_TARGET: must be"),
    ({"GATEWAY_TARGET": "gateway:50051"}, "GATEWAY_TARGET: production speaks TLS"),
    ({"BRIDGE_TLS_KEY_PATH": "x.key"}, "BRIDGE_TLS_CERTIFICATE_PATH: is required"),
    ({"CLIENT_TLS_CA_PATH": "/nope.pem"}, "CLIENT_TLS_CA_PATH: /nope.pem: No such file"),
    ({"CONTRACTS_FILE": "/nope.binpb"}, "/nope.binpb: No such file"),
    ({"CONTRACTS_FILE": "/etc/hostname"}, "the contracts cannot be read"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: must be one of"),
    ({"ENVIRONMENT": "staging"}, "ENVIRONMENT: must be one of"),
    ({"WEBHOOK_ALLOW": ""}, "WEBHOOK_ALLOW: is required in production"),
    ({"WEBHOOK_ALLOW": "bank.example"}, "WEBHOOK_ALLOW: 'bank.example' is no address"),
    ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES: must not contain"),
    ({"BRIDGE_CONNECTIONS": "many"}, "BRIDGE_CONNECTIONS: must be a whole number"),
    ({"BRIDGE_CONNECTIONS": "100000"}, "BRIDGE_CONNECTIONS: 100000 need 100200 open files"),
    ({"BRIDGE_CONNECTIONS_PER_ADDRESS": "1001"}, "BRIDGE_CONNECTIONS_PER_ADDRESS: must be"),
    ({"BRIDGE_CALLS": "0"}, "BRIDGE_CALLS: must be a whole number"),
    ({"BRIDGE_SHARES_PORTS": "maybe"}, "BRIDGE_SHARES_PORTS: must be one of"),
]


async def test_the_service_is_given_what_is_left_of_five_seconds(stage: Stage) -> None:
    async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
        assert response.status == 200
    assert 4.5 < stage.gateway.remaining_s[0] <= 5.0


async def test_a_slow_service_is_a_503_in_time() -> None:
    async def behave(_request: Message, _context: Any) -> None:
        await asyncio.sleep(30)

    async with served(budget_s=0.3) as stage:
        stage.gateway.behave = behave
        started_s = time.monotonic()
        async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
            document = json.loads(await response.text())
            assert response.status == 503
            assert response.headers["Retry-After"] == "5"
        assert 0.2 < time.monotonic() - started_s < 2
        assert document["error"]["code"] == "SERVER_UNAVAILABLE"
        assert stage.gateway.remaining_s[0] <= 0.3


async def test_both_addresses_serve_everything(stage: Stage) -> None:
    assert len({one.port for one in stage.running.addresses}) == 2
    for address in stage.running.addresses:
        for path in (INQUIRY, "/openapi.json", "/readyz"):
            async with stage.client.get(f"http://{address}{path}", headers=BEARER) as response:
                assert response.status == 200


async def test_readyz_names_the_part_that_is_not_ready(stage: Stage) -> None:
    await stage.gateway.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with stage.client.get(stage.url("/readyz")) as response:
        document = json.loads(await response.text())
        assert response.status == 503
    assert document["error"]["details"].startswith("gateway: ")
    async with stage.client.get(stage.url("/livez")) as response:
        assert response.status == 200
    await stage.gateway.health.set("", health_pb2.HealthCheckResponse.SERVING)
    async with asyncio.timeout(5):
        while (await stage.client.get(stage.url("/readyz"))).status != 200:  # noqa: ASYNC110 # polled over HTTP
            await asyncio.sleep(0.01)


async def test_a_draining_bridge_is_not_ready(stage: Stage) -> None:
    stage.running.bridge.pages.draining = True
    async with stage.client.get(stage.url("/readyz")) as response:
        assert response.status == 503
        assert "bridge: DRAINING" in await response.text()


async def test_a_drain_lets_a_call_finish_and_refuses_the_next() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def behave(_request: Message, _context: Any) -> None:
        entered.set()
        await leave.wait()

    async with served() as stage:
        stage.gateway.behave = behave
        call = asyncio.create_task(stage.client.get(stage.url(INQUIRY), headers=BEARER))
        await asyncio.wait_for(entered.wait(), 5)
        drain = asyncio.create_task(stage.running.drain())
        async with asyncio.timeout(5):
            while True:
                try:
                    _, writer = await asyncio.open_connection(
                        stage.address.host, stage.address.port
                    )
                except ConnectionError:
                    break
                writer.close()
                await asyncio.sleep(0.01)
        leave.set()
        response = await call
        assert response.status == 200
        await drain


async def launched(variables: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rest_bridge",
        env={"PATH": os.environ["PATH"], "ENVIRONMENT": "production", **EVERYONE, **variables},
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(("variables", "line"), REFUSED_STARTS)
async def test_a_wrong_value_stops_the_start_with_one_line(
    variables: dict[str, str], line: str
) -> None:
    process = await launched({"BRIDGE_LISTEN": "127.0.0.1:0", **variables})
    try:
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:  # it has started: it would outlive the test
            process.kill()
            await process.wait()
    assert process.returncode == 2
    assert line in errors.decode()
    assert errors.count(b"\n") == 1


async def test_the_process_says_where_it_listens_and_stops_on_a_signal(stage: Stage) -> None:
    process = await launched({"BRIDGE_LISTEN": "127.0.0.1:0,127.0.0.1:0"})
    assert process.stderr is not None
    async with asyncio.timeout(20):
        event: dict[str, Any] = json.loads(await process.stderr.readline())
        assert event["event"] == "listening"
        assert len(event["addresses"]) == 2
        for address in event["addresses"]:
            async with stage.client.get(f"http://{address}/livez") as response:
                assert response.status == 200
        assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"ENVIRONMENT": "production", "BRIDGE_LISTEN": "0.0.0.0:8080,127.0.0.1:8081"}, True),
        ({"ENVIRONMENT": "production", "BRIDGE_LISTEN": "127.0.0.1:8080"}, False),
        ({"ENVIRONMENT": "development", "BRIDGE_LISTEN": "0.0.0.0:8080"}, False),
    ],
)
def test_production_says_that_it_takes_tokens_in_clear(
    environ: dict[str, str], warned: bool
) -> None:
    environ = {"WEBHOOK_ALLOW": "192.0.2.0/24"} | environ
    settings = read_settings(variables=Variables(environ=environ))
    assert plain_http_places(settings=settings) == (("0.0.0.0:8080",) if warned else ())
