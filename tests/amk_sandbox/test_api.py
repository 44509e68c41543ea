"""The HTTP edge: the page's headers, refusals, other sites."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from amk_sandbox import api
from amk_sandbox.settings import read_settings
from chassis.settings import SettingError, Variables
from tests.amk_sandbox.harness import Clock, sandbox
from tests.support.kafka import KafkaOfSession

REFUSALS = [
    ("POST", "/sandbox/lookup", 400),
    ("POST", "/sandbox/lookup?query=P12345678901", 400),
    ("POST", "/sandbox/lookup?query=%E1%9F%A1", 400),  # a Khmer digit is alphanumeric to Python
    ("POST", "/sandbox/bills/1/pay", 404),
    ("POST", "/sandbox/bills/%E1%9F%A1/pay", 404),
    ("POST", "/sandbox/transfers/AMK1/resend", 404),
    ("POST", "/sandbox/transfers/AMK1/reverse", 404),
    ("POST", "/sandbox/policies/NOSUCH/settle", 404),
    ("POST", "/sandbox/policies/P100000006/due", 409),
    ("POST", "/sandbox/khqr", 400),
    ("POST", "/sandbox/khqr/pay?query=P-1", 400),
    ("POST", "/sandbox/khqr/1/pay", 404),
    ("GET", "/sandbox/khqr/1/image", 404),
    ("POST", "/sandbox/notices/1/resend", 404),
    ("GET", "/auth/sign-in", 405),
    ("GET", "/nowhere", 404),
    ("PUT", "/sandbox/state", 405),
    ("GET", "/static/../api.py", 404),
]
STATIC = Path(api.__file__).parent / "static"
PAGE_FILES = ["/", *(f"/static/{path.name}" for path in sorted(STATIC.glob("*.[jc]s*")))]


@pytest.mark.parametrize(("method", "path", "status"), REFUSALS)
async def test_a_refusal_is_json_with_a_code(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async with (
        sandbox(var=tmp_path, clock=Clock()) as client,
        client.session.request(method, client.base + path) as response,
    ):
        assert response.status == status
        error = (await response.json())["error"]
        assert error["code"]
        assert error["message"]


async def test_another_sites_page_may_not_ask(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        path = f"{client.base}/sandbox/policies/P123456789/settle"
        own = {"Origin": client.base}
        async with client.session.post(path, headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        assert (await client.get("/policies/P123456789/premium"))[0] == 200
        async with client.session.post(path, headers=own) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", PAGE_FILES)
async def test_the_page_is_served_with_a_strict_policy(tmp_path: Path, path: str) -> None:
    async with (
        sandbox(var=tmp_path, clock=Clock()) as client,
        client.session.get(client.base + path) as response,
    ):
        text = await response.text()
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        for forbidden in ("innerHTML", "style=", "onclick=", "https://", "<script>"):
            assert forbidden not in text


BAD_SETTINGS = [
    ({"ENVIRONMENT": "production"}, "ENVIRONMENT"),
    ({"SANDBOX_LISTEN": "8687"}, "SANDBOX_LISTEN"),
    ({"EVENTS_URL": "amqp://x"}, "EVENTS_URL"),
    ({"BRIDGE_URL": "ftp://x"}, "BRIDGE_URL"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
]


@pytest.mark.parametrize(("environ", "name"), BAD_SETTINGS)
def test_a_wrong_setting_is_named(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_settings(variables=Variables(environ=environ))


async def test_the_program_listens_and_stops_on_sigterm(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "amk_sandbox"),
        env={"VAR_DIR": str(tmp_path), "SANDBOX_LISTEN": "127.0.0.1:0", "PATH": "/usr/bin"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line: dict[str, Any] = json.loads(await process.stderr.readline())
    assert line["event"] == "listening"
    host, _, port = line["addresses"][0].rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    process.terminate()
    assert await process.wait() == 0
    assert b"Traceback" not in await process.stderr.read()


async def test_success_events_come_from_kafka_too(tmp_path: Path, kafka: KafkaOfSession) -> None:
    prefix = await kafka.fresh_topic(suffix=".gateway.payment.success")
    event = {
        "eventId": "k-1",
        "type": "PAYMENT_EVENT_TYPE_SUCCESS",
        "policyNumber": "P123456789",
        "dueOn": "2025-11-15",
        "currency": "USD",
    }
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    for _ in range(2):
        await producer.send_and_wait(
            f"{prefix}.gateway.payment.success", json.dumps(event).encode(), key=b"P123456789"
        )
    await producer.stop()
    environ = {"EVENTS_URL": f"kafka://{kafka.bootstrap}", "TOPIC_PREFIX": prefix}
    async with sandbox(var=tmp_path, clock=Clock(), **environ) as client, asyncio.timeout(30):
        applied = 0
        while (await client.get("/policies/P123456789/premium"))[0] != 204:
            applied += await client.running.follower.run_once()
        assert applied == 1
        await client.running.follower.close()
        assert await client.running.follower.run_once() == 0
