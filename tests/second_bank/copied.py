"""A copy of the tree, and the services started from it."""

import hashlib
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.gateway import fake_integration
from tests.support.programs import running
from tests.support.tokens import SigningKey, write_jwks

TREE = Path(__file__).parents[2]
KEY = SigningKey(key_id="test")
SCOPES = ("payments:inquire", "payments:confirm", "khqr:generate")
POLICIES = ("P123456789", "P987654321")
# What a checkout does not hold, and what is large and not run.
_LEFT_OUT = (".*", "var", "__pycache__", "*.egg-info", "pictures")


@dataclass(frozen=True, kw_only=True)
class House:
    """The running services, and a short way to call them."""

    base_url: str
    http: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, *, bank: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Return status and document of one answer; the token is bound to `bank`."""
        headers = {"Authorization": f"Bearer {KEY.token(scopes=SCOPES, bank=bank)}"}
        async with self.http.request(
            method, f"{self.base_url}{path}", json=body, headers=headers
        ) as response:
            return response.status, await response.json()


def copied_tree(*, to: Path) -> Path:
    """Copy the tree to `to`, with the `banks.toml` of a deployment that has AMK alone."""
    shutil.copytree(TREE, to, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    shutil.copy(TREE / "deploy" / "compose" / "banks.toml", to / "banks.toml")
    return to


def contents(*, tree: Path) -> dict[str, str]:
    """Return a digest of every file below `tree`, by its path in the tree."""
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def differing(*, before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Return the paths that came, went or changed."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


@asynccontextmanager
async def house_of(
    *, tree: Path, var: Path, secrets: Mapping[str, str], environ: Mapping[str, str]
) -> AsyncIterator[House]:
    """Run gateway, KHQR service and bridge from the code of `tree`, on its `banks.toml`."""
    (var / "secrets").mkdir(parents=True)
    for name, text in secrets.items():
        (var / "secrets" / name).write_text(text)
    (var / "khqr.token").write_text(
        KEY.token(sub="khqr", scopes=["payments:inquire", "khqr:record"], bank=None)
    )
    # Where a container mounts its secrets, this machine has a folder.
    banks = (tree / "banks.toml").read_text().replace("/run/secrets", str(var / "secrets"))
    (var / "banks.toml").write_text(banks)
    async with AsyncExitStack() as stack:
        insurer = await stack.enter_async_context(fake_integration())
        for number in POLICIES:
            due = insurer.answers[POLICIES[0]][1].replace(POLICIES[0], number)
            insurer.answers[number] = (200, due)
        around = {
            "PYTHONPATH": f"{tree}:{tree / 'generated'}",
            "PYTHONSAFEPATH": "1",  # the folder that the tests run in is not the code that runs
            "PYTHONDONTWRITEBYTECODE": "1",
            "VAR_DIR": str(var),
            "BANKS_FILE": str(var / "banks.toml"),
            "DATABASE_URL": f"sqlite+aiosqlite:///{var / 'test.sqlite'}",
            "JWT_KEYS_FILE": str(write_jwks(var / "jwks.json", KEY)),
            "GATEWAY_TOKEN_FILE": str(var / "khqr.token"),
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "KHQR_LISTEN": "127.0.0.1:0",
            "BRIDGE_LISTEN": "127.0.0.1:0",
            "INTEGRATION_URL": insurer.base_url,
            **environ,
        }
        for module, gives in (
            ("gateway_svc", "GATEWAY_TARGET"),
            ("khqr_svc", "KHQR_TARGET"),
            ("rest_bridge", "BRIDGE_URL"),
        ):
            program = await stack.enter_async_context(
                running(module=module, environ=around, folder=var)
            )
            around[gives] = program.address
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield House(base_url=f"http://{around['BRIDGE_URL']}", http=http)
