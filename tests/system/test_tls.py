"""TLS from the caller to the gateway, over real sockets, with authorities made for the test.

| who meets whom                                      | what happens                          |
|-----------------------------------------------------|---------------------------------------|
| HTTPS, then mutual TLS, the right certificates      | 200; health works                     |
| a client without, expired, a stranger's, plain text | the gateway does not answer it        |
| a server of another name, expired, a stranger's, plain | 503 SERVER_UNAVAILABLE, fixed text |
| files replaced, on the server or on the client      | used without a restart                |
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.channel import RenewedChannel
from chassis.open_channel import open_channel
from chassis.settings import Address, Variables
from chassis.tls import TlsFiles, read_client_tls, read_server_tls, watched_material
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import Running
from rest_bridge.service import start as start_bridge
from rest_bridge.settings import ClientTls
from tests.support.certificates import Authority, Certificate, variables_of
from tests.support.gateway import fake_integration, gateway_settings, running_gateway
from tests.support.system import INQUIRY, KEY

NAME = "gateway.internal"


@pytest.fixture
def house(tmp_path: Path) -> Authority:
    """Return the authority of the services."""
    return Authority(folder=tmp_path / "house")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Return an authority of no one here."""
    return Authority(folder=tmp_path / "stranger")


@asynccontextmanager
async def gateway(tmp_path: Path, house: Authority) -> AsyncIterator[Address]:
    """Run a gateway on SQLite that lets only clients of `house` in."""
    environ = variables_of("GATEWAY", house.issue(NAME, file="gateway"))
    environ["GATEWAY_TLS_CLIENT_CA_PATH"] = str(house.file)
    environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}"
    async with fake_integration() as integration:
        settings = gateway_settings(
            tmp_path=tmp_path, key=KEY, environ=environ | {"INTEGRATION_URL": integration.base_url}
        )
        async with running_gateway(settings=settings) as (_process, address):
            yield address


@asynccontextmanager
async def bridge(
    target: Address, files: TlsFiles, *, tls: TlsFiles | None = None, name: str = NAME
) -> AsyncIterator[Running]:
    running = await start_bridge(
        contract=load_contract(image=read_image(path=None)),
        targets={"GATEWAY": str(target)},
        listen=[Address(host="127.0.0.1", port=0)],
        tls=tls,
        client_tls=ClientTls(files=files, server_names={"GATEWAY": name}),
    )
    try:
        yield running
    finally:
        await running.drain()


def client_files(house: Authority, own: Certificate | None) -> TlsFiles:
    environ = {"CLIENT_TLS_CA_PATH": str(house.file)}
    environ |= variables_of("CLIENT", own) if own else {}
    found = read_client_tls(variables=Variables(environ=environ), production=True)
    assert found is not None
    return found


async def asked(running: Running, path: str = INQUIRY, trust: Path | None = None) -> Any:
    """Return status and body of an inquiry."""
    context: Any = ssl.create_default_context(cafile=trust) if trust else True
    scheme = "https" if trust else "http"
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{scheme}://{running.addresses[0]}{path}",
            headers={"Authorization": f"Bearer {KEY.token()}"},
            ssl=context,
        ) as response,
    ):
        return response.status, await response.read()


async def test_https_then_mutual_tls_answers(
    tmp_path: Path, house: Authority, stranger: Authority
) -> None:
    public = stranger.issue("127.0.0.1", file="bridge")  # another authority than the services'
    tls = read_server_tls(
        variables=Variables(environ=variables_of("BRIDGE", public)), name="BRIDGE", production=True
    )
    files = client_files(house, house.issue("bridge", file="client"))
    async with gateway(tmp_path, house) as address, bridge(address, files, tls=tls) as running:
        status, body = await asked(running, trust=stranger.file)
        assert status == 200, body
        assert b'"payer":"John Doe"' in body
        status, body = await asked(running, "/readyz", trust=stranger.file)
        assert status == 200, body


CLIENTS = ["none", "stranger", "expired", "early", "plain"]


@pytest.mark.parametrize("who", CLIENTS)
async def test_a_client_that_is_not_ours_is_not_answered(
    tmp_path: Path, house: Authority, stranger: Authority, who: str
) -> None:
    def credentials(own: Certificate | None) -> grpc.ChannelCredentials:
        pair = (own.key.read_bytes(), own.chain.read_bytes()) if own else (None, None)
        return grpc.ssl_channel_credentials(house.file.read_bytes(), *pair)

    options = [("grpc.ssl_target_name_override", NAME)]
    async with gateway(tmp_path, house) as address:
        own = {
            "none": None,
            "stranger": stranger.issue("bridge", file="client"),
            "expired": house.issue("bridge", file="client", expired=True),
            "early": house.issue("bridge", file="client", early=True),
        }
        for channel, answered in (
            (
                grpc.aio.insecure_channel(str(address))
                if who == "plain"
                else grpc.aio.secure_channel(str(address), credentials(own[who]), options),
                False,
            ),
            # The same with our own certificate is answered: it is the certificate.
            (
                grpc.aio.secure_channel(
                    str(address), credentials(house.issue("bridge", file="good")), options
                ),
                True,
            ),
        ):
            async with channel:
                health = health_pb2_grpc.HealthStub(channel)
                if answered:
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
                else:
                    with pytest.raises(grpc.aio.AioRpcError) as refusal:
                        await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
                    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


@asynccontextmanager
async def pretender(certificate: Certificate | None) -> AsyncIterator[Address]:
    """Serve with nothing but a certificate, or in plain text."""
    server = grpc.aio.server()
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        yield Address(host="127.0.0.1", port=port)
    finally:
        await server.stop(None)


@pytest.mark.parametrize("what", ["other name", "stranger", "expired", "plain"])
async def test_a_server_that_is_not_the_gateway_is_a_503_without_inner_words(
    house: Authority, stranger: Authority, what: str
) -> None:
    shown = {
        "other name": house.issue("khqr.internal", file="server"),
        "stranger": stranger.issue(NAME, file="server"),
        "plain": None,
    }
    certificate = (
        house.issue(NAME, file="server", expired=True) if what == "expired" else shown[what]
    )
    files = client_files(house, house.issue("bridge", file="client"))
    async with pretender(certificate) as address, bridge(address, files) as running:
        status, body = await asked(running)
    assert status == 503
    assert b'"code":"SERVER_UNAVAILABLE"' in body
    for word in (b"ssl", b"tls", b"certif", b"handshake", b"127.0.0.1", b"internal", b"connect"):
        assert word not in body.lower(), body


async def test_the_gateway_shows_a_replaced_certificate_without_a_restart(
    tmp_path: Path, house: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.tls._LOOK_EVERY_S", 0.0)
    files = client_files(house, house.issue("bridge", file="client"))
    async with gateway(tmp_path, house) as address:
        for name in (NAME, "second.internal"):
            house.issue(name, file="gateway")
            for asked_for in (NAME, "second.internal"):
                async with bridge(address, files, name=asked_for) as running:
                    status, _body = await asked(running)
                assert (status == 200) is (asked_for == name), (asked_for, name)


async def test_the_gateway_trusts_a_replaced_authority_without_a_restart(
    tmp_path: Path, house: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.tls._LOOK_EVERY_S", 0.0)
    ours = house.file.read_bytes()
    own = stranger.issue("bridge", file="client")
    files = client_files(house, own)
    async with gateway(tmp_path, house) as address:
        async with bridge(address, files) as running:
            assert (await asked(running))[0] == 503
        (tmp_path / "house" / "ca.pem").write_bytes(ours + stranger.file.read_bytes())
        async with bridge(address, files) as running:
            assert (await asked(running))[0] == 200


async def test_a_client_shows_a_replaced_certificate_and_calls_under_way_finish(
    tmp_path: Path, house: Authority, stranger: Authority
) -> None:
    own = stranger.issue("bridge", file="client")
    now_s = 0.0
    files = client_files(house, own)
    opened: list[grpc.aio.Channel] = []
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(gateway(tmp_path, house))
        watched = watched_material(files=files, clock=lambda: now_s)

        def opening(material: Any) -> grpc.aio.Channel:
            pair = (material.key, material.certificate)
            opened.append(
                grpc.aio.secure_channel(
                    str(address),
                    grpc.ssl_channel_credentials(material.ca, *pair),
                    [("grpc.ssl_target_name_override", NAME)],
                )
            )
            return opened[-1]

        channel = await stack.enter_async_context(
            RenewedChannel(watched=watched, open_with=opening)
        )
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        fresh = house.issue("bridge", file="fresh")
        own.chain.write_bytes(fresh.chain.read_bytes())
        own.key.write_bytes(fresh.key.read_bytes())
        now_s = 10.0
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert len(opened) == 2
        again = house.issue("bridge", file="again")
        own.chain.write_bytes(again.chain.read_bytes())
        own.key.write_bytes(again.key.read_bytes())
        now_s = 20.0
        await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert len(opened) == 3
        assert not watch.done()  # on the channel before
        await channel.close()
        assert await watch.code() is grpc.StatusCode.CANCELLED


async def test_a_channel_over_tls_follows_health(tmp_path: Path, house: Authority) -> None:
    files = client_files(house, house.issue("bridge", file="client"))
    async with (
        gateway(tmp_path, house) as address,
        open_channel(target=str(address), tls=files, server_name=NAME) as channel,
    ):
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=5
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
