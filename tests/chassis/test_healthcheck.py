"""`python -m chassis.healthcheck`, as a container's check runs it.

| the service                     | exit |
|---------------------------------|------|
| serves, over gRPC or over HTTP  | 0    |
| says that it does not serve     | 1    |
| is not there; answers 503       | 1    |
| no URL, another scheme          | 2    |
"""

import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.gateway import gateway_settings, running_gateway
from tests.support.tokens import SigningKey


async def _check(url: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chassis.healthcheck",
        env={"HEALTHCHECK_URL": url}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_gateway_is_well_while_it_says_so(tmp_path: Path, empty_sqlite_url: str) -> None:
    settings = gateway_settings(
        tmp_path=tmp_path, key=SigningKey(key_id="test"), environ={"DATABASE_URL": empty_sqlite_url}
    )
    async with running_gateway(settings=settings) as (gateway, address):
        assert (await _check(f"grpc://{address}"))[0] == 0
        for task in gateway._loops:
            if task.get_name() == "health":
                task.cancel()  # which would find the database well again
        await gateway._server.set_serving(serving=False)
        assert (await _check(f"grpc://{address}"))[0] == 1
    assert (await _check(f"grpc://{address}"))[0] == 1


async def test_an_http_service_is_well_with_a_200() -> None:
    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=503)

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    assert (await _check(f"{base}/livez"))[0] == 0
    assert (await _check(f"{base}/readyz"))[0] == 1
    await runner.cleanup()
    assert (await _check(f"{base}/livez"))[0] == 1


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1:1"])
async def test_what_cannot_be_asked_is_named(url: str) -> None:
    code, said = await _check(url)
    assert code == 2
    assert "HEALTHCHECK_URL" in said
