"""The compose file, played without Docker: its commands and variables, on a real database.

Each service starts as the file says, in production, with the files that `trial-secrets` makes;
only names of hosts and ports become those of this machine. Then a bill is paid, and each
container's own check says that it is well.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy.engine import make_url

from tests.deploy.deployments import COMPOSE, Container, containers
from tests.support.kafka import KafkaOfSession
from tests.support.metrics import ROOT, scraped, values_of
from tests.support.programs import Program, running

PAYCTL = Path(sys.executable).parent / "payctl"


class Host:
    """One Docker host, played by folders and processes."""

    def __init__(
        self, *, folder: Path, database_url: str, kafka: KafkaOfSession, stack: AsyncExitStack
    ) -> None:
        self._folder = folder
        self._stack = stack
        self._there: dict[str, str] = {"kafka:9092": kafka.bootstrap}
        self._database_url = database_url
        self._containers = containers()
        self.programs: dict[str, Program] = {}

    async def make_secrets(self) -> None:
        """Run the script, and let the database be this machine's."""
        secrets = self._folder / "secrets"
        process = await asyncio.create_subprocess_exec(
            str(COMPOSE.parent / "trial-secrets"), str(secrets),
            env={"PATH": "/usr/bin:/bin", "PAYCTL": str(PAYCTL)}, cwd=ROOT,
        )  # fmt: skip
        assert await process.wait() == 0
        made = (secrets / "database-url").read_text()
        assert made.startswith("postgresql+asyncpg://payments:")
        (secrets / "database-url").unlink()
        url = make_url(self._database_url).set(password="8c1f0d2e")
        (secrets / "database-url").write_text(url.render_as_string(hide_password=False))

    def environ(self, name: str) -> dict[str, str]:
        """Return a container's variables as this machine spells them."""
        container = self._containers[f"compose {name}"]
        self._mount(container)
        found = {one: self._here(value) for one, value in container.environ.items()}
        found |= {one: "127.0.0.1:0" for one in found if one.endswith("_LISTEN")}
        found["VAR_DIR"] = str(self._folder / f"var-{name}")
        Path(found["VAR_DIR"]).mkdir(exist_ok=True)
        return found

    async def run(self, name: str) -> int | None:
        """Run a step to its end; return its exit code."""
        command = self._containers[f"compose {name}"].command
        program = sys.executable if command[0] == "python" else str(PAYCTL)
        process = await asyncio.create_subprocess_exec(
            program, *command[1:], env={"PATH": "/usr/bin:/bin", **self.environ(name)}
        )
        return await process.wait()

    async def start(self, name: str, port: int) -> Program:
        """Start a service; what names it from now on means this machine."""
        module = self._containers[f"compose {name}"].module
        program = await self._stack.enter_async_context(
            running(module=module, environ=self.environ(name), folder=self._folder)
        )
        self.programs[name] = program
        self._there[f"{name}:{port}"] = program.address
        self._there[f"dns:///{name}:{port}"] = program.address
        return program

    async def is_well(self, name: str, port: int) -> bool:
        """Tell what the container's own check says."""
        url = self.environ(name)["HEALTHCHECK_URL"]
        url = url.replace(f"127.0.0.1:{port}", self.programs[name].address)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chassis.healthcheck", env={"HEALTHCHECK_URL": url}
        )
        return await process.wait() == 0

    async def numbers(self, name: str) -> Mapping[str, float]:
        """Return what a service tells Prometheus."""
        for line in self.programs[name].said().splitlines():
            if '"metrics_listening"' in line:
                return values_of(await scraped(json.loads(line)["address"]))
        raise AssertionError(f"{name} serves no metrics")

    def secret(self, name: str) -> str:
        """Return what a file of secrets/ holds."""
        return (self._folder / "secrets" / name).read_text().strip()

    def _mount(self, container: Container) -> None:
        for path in container.files:
            place = self._folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            name = place.name
            source = COMPOSE.parent / name if name == "banks.toml" else None
            text = source.read_text() if source else self.secret(name)
            place.write_text(self._here(text))

    def _here(self, value: str) -> str:
        value = value.replace("/run/secrets/", f"{self._folder}/secrets/")
        value = value.replace("/etc/payments/", f"{self._folder}/etc/payments/")
        for name in sorted(self._there, key=len, reverse=True):
            value = value.replace(name, self._there[name])
        return value


@pytest.fixture
async def host(
    tmp_path: Path, empty_postgres_url: str, kafka: KafkaOfSession
) -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        found = Host(folder=tmp_path, database_url=empty_postgres_url, kafka=kafka, stack=stack)
        await found.make_secrets()
        yield found


async def test_what_compose_starts_takes_a_payment(host: Host, kafka: KafkaOfSession) -> None:
    assert await host.run("migrate") == 0
    if kafka.mock_because is None:  # the mock has no admin, and makes topics by itself
        assert await host.run("topics") == 0
    await host.start("sandbox", 8687)
    await host.start("gateway", 50051)
    await host.start("khqr", 50052)
    bridge = await host.start("bridge", 8080)
    async with aiohttp.ClientSession(f"http://{bridge.address}") as http:
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status != 200:  # noqa: ASYNC110 - programs start
                await asyncio.sleep(0.1)
        for name, port in {
            "sandbox": 8687,
            "gateway": 50051,
            "khqr": 50052,
            "bridge": 8080,
        }.items():
            assert await host.is_well(name, port), name
        await _pay(http, host)
    metrics = await host.numbers("gateway")
    recorded = 'payments_recorded_total{bank="AMK",channel="BILL",currency="USD",state="APPLIED"}'
    assert metrics[recorded] == 1
    for name in ("khqr", "bridge"):
        assert await host.numbers(name)


async def _pay(http: aiohttp.ClientSession, host: Host) -> None:
    bank = {"Authorization": f"Bearer {host.secret('sandbox-token')}"}
    async with http.get("/AMK/payments?query=P123456789", headers=bank) as answer:
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
    due = found["data"]
    notice = {
        "id": due["id"], "policyNumber": due["policyNumber"], "amount": due["amount"],
        "currency": due["currency"], "bankTransactionId": "T1", "payer": "A",
        "paidDate": "20251007120000",
    }  # fmt: skip
    async with http.post("/AMK/payments", json=notice, headers=bank) as answer:
        assert answer.status == 200, await answer.text()
    app = {"Authorization": f"Bearer {host.secret('app-token')}"}
    async with http.get("/khqr?bankCode=AMK&billNumber=P100000003", headers=app) as answer:
        assert answer.status == 200, await answer.text()
