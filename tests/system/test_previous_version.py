"""Revisions expand before they contract: the code before the newest one runs on its schema.

A rolling update runs both versions side by side, and one that is rolled back runs the old
code on the new schema. The previous version comes from the history of this repository: the
tree as it was before the newest revision was added.
"""

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from sqlalchemy import text

from chassis.database import Database
from gateway_svc.migrations import upgrade
from payctl.parts import grpc_probe
from payments.gateway.v1 import gateway_service_pb2, gateway_service_pb2_grpc
from tests.support.gateway import fake_integration, write_bank_key
from tests.support.postgres_cluster import free_port
from tests.support.tokens import SigningKey, write_jwks

_ROOT = Path(__file__).parents[2]
_VERSIONS = "gateway_svc/migrations/versions"
_BANKS = """
[AMK]
currencies = ["USD", "KHR"]
base_url = "http://127.0.0.1:1"
merchant_id = "900000000290002"
store_id = "800000000270001"
terminal_id = "70000002"
allow_plain_http = "a test: nobody is asked"

[AMK.verify]
path = "/verify"

[AMK.signing]
key = "file:keys/amk-hmac-key"
"""
_START_LIMIT_S = 30


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=_ROOT, check=True, capture_output=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tree as it was before the newest revision."""
    newest = max(path.name for path in (_ROOT / _VERSIONS).glob("[0-9]*.py"))
    try:
        added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_VERSIONS}/{newest}")
        before = _git("rev-parse", f"{added.decode().split()[-1]}^").decode().strip()
        archive = _git("archive", before)
    except (OSError, subprocess.CalledProcessError, IndexError):
        pytest.skip(f"the history before {newest} is not in this copy of the repository")
    tree = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=BytesIO(archive)) as file:
        file.extractall(tree, filter="data")
    assert not (tree / _VERSIONS / newest).exists()
    return tree


def _spawned(tree: Path, environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "gateway_svc"],
            cwd=tree,
            env=environ,
            stdout=output,
            stderr=output,
        )


@asynccontextmanager
async def _previous_gateway(
    *, tree: Path, var: Path, empty_database_url: str, key: SigningKey, integration_url: str
) -> AsyncIterator[str]:
    (var / "banks.toml").write_text(_BANKS)
    write_bank_key(var)
    address = f"127.0.0.1:{free_port()}"
    environ = os.environ | {
        "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'generated'}",
        "ENVIRONMENT": "production",  # where it takes a schema that is ahead, and never migrates
        "GATEWAY_LISTEN": address,
        "DATABASE_URL": empty_database_url,
        "EVENTS_URL": "kafka://127.0.0.1:1",
        "BANKS_FILE": str(var / "banks.toml"),
        "INTEGRATION_URL": integration_url,
        "JWT_KEYS_FILE": str(write_jwks(var / "jwks.json", key)),
        "VAR_DIR": str(var),
    }
    process = _spawned(tree, environ, var / "log")
    try:
        ends_at = time.monotonic() + _START_LIMIT_S
        while not await grpc_probe(address):
            if process.poll() is not None or time.monotonic() > ends_at:
                pytest.fail((var / "log").read_text()[-2000:])
        yield address
    finally:
        process.kill()  # there is no Kafka to drain to
        process.wait()


async def test_the_version_before_takes_payments_on_the_newest_schema(
    previous: Path, empty_postgres_url: str, tmp_path: Path
) -> None:
    database, key = Database(url=empty_postgres_url), SigningKey(key_id="test")
    await upgrade(database=database)
    async with (
        fake_integration() as integration,
        _previous_gateway(
            tree=previous,
            var=tmp_path,
            empty_database_url=empty_postgres_url,
            key=key,
            integration_url=integration.base_url,
        ) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = gateway_service_pb2_grpc.GatewayServiceStub(channel)
        metadata = (("authorization", f"Bearer {key.token()}"),)
        due = await stub.InquirePayment(
            gateway_service_pb2.InquirePaymentRequest(bank_code="AMK", query="P123456789"),
            metadata=metadata,
            timeout=5,
        )
        notice = gateway_service_pb2.ConfirmPaymentRequest(
            bank_code="AMK",
            id=due.id,
            policy_number="P123456789",
            currency="USD",
            bank_transaction_id="T1",
            payer="John Doe",
        )
        notice.amount.value = "150.00"
        notice.paid_date.GetCurrentTime()
        answers = [
            await stub.ConfirmPayment(notice, metadata=metadata, timeout=5) for _ in range(2)
        ]
    assert [answer.status for answer in answers] == [answers[0].status] * 2
    async with database.reading() as connection:
        found = await connection.execute(
            text(
                "SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM applications),"
                " (SELECT count(*) FROM outbox)"
            )
        )
        assert tuple(found.one()) == (1, 1, 2)
    await database.close()
