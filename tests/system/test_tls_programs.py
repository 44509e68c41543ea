"""The three services as programs, TLS everywhere: HTTPS in front, mutual TLS behind.

| what is done                                    | what is seen                                  |
|-------------------------------------------------|-----------------------------------------------|
| an inquiry and the readiness page over HTTPS    | 200; both services serve, each over its TLS   |
| a stranger and plain text at every port         | no answer; every line of every log stays JSON |
| the gateway's certificate is replaced           | the next connection sees it                   |
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.sealed import key_line, seal
from tests.support.canaries import Canaries
from tests.support.certificates import Authority, Certificate, variables_of
from tests.support.programs import Program, running
from tests.support.system import INQUIRY, KEY
from tests.support.talkative import talkative
from tests.support.tokens import write_jwks

CONFIG_KEY = bytes(range(32))
BANKS = """
[AMK]
currencies = ["USD"]
merchant_id = "900000000290002"
store_id = "800000000270001"
terminal_id = "70000002"
[AMK.sign_in]
username = "{username}"
password = "{password}"
[AMK.qr]
[AMK.verify]
path = "/verify"
[AMK.signing]
key = "{key}"
"""


@dataclass(kw_only=True)
class House:
    """Three programs and the authorities behind their certificates."""

    programs: dict[str, Program]
    services: Authority
    public: Authority
    stranger: Authority
    canaries: Canaries

    def address(self, module: str) -> str:
        """Return `host:port` of a program."""
        return self.programs[module].address

    def silent(self) -> None:
        """Fail unless all that was said is JSON in ASCII, line by line, without canaries."""
        for module, program in self.programs.items():
            said = program.said()
            assert not self.canaries.found_in(said), module
            for line in said.splitlines():
                assert isinstance(json.loads(line), dict), line


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    services, public, stranger = (
        Authority(folder=tmp_path / name) for name in ("services", "public", "stranger")
    )
    fed = Canaries()
    environ = sealed_banks(tmp_path, fed) | {
        "LOG_LEVEL": "DEBUG",
        "VAR_DIR": str(tmp_path),
        "JWT_KEYS_FILE": str(write_jwks(tmp_path / "jwks.json", KEY)),
        "GATEWAY_TOKEN_FILE": str(tmp_path / "khqr.token"),
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "KHQR_LISTEN": "127.0.0.1:0",
        "BRIDGE_LISTEN": "127.0.0.1:0",
        "CLIENT_TLS_CA_PATH": str(services.file),
        "CLIENT_TLS_GATEWAY_SERVER_NAME": "gateway.internal",
        "CLIENT_TLS_KHQR_SERVER_NAME": "khqr.internal",
        "GATEWAY_TLS_CLIENT_CA_PATH": str(services.file),
        "KHQR_TLS_CLIENT_CA_PATH": str(services.file),
    }
    (tmp_path / "khqr.token").write_text(
        KEY.token(sub="khqr", scopes=["payments:inquire", "khqr:record"], bank=None)
    )
    for name, certificate in (
        ("GATEWAY", services.issue("gateway.internal", file="gateway")),
        ("KHQR", services.issue("khqr.internal", file="khqr")),
        ("CLIENT", services.issue("client.internal", file="client")),
        ("BRIDGE", public.issue("127.0.0.1", file="bridge")),
    ):
        environ |= variables_of(name, certificate)
    async with AsyncExitStack() as stack:
        partner = await stack.enter_async_context(talkative(canaries=fed))
        environ |= {"INTEGRATION_URL": partner.base_url, "AMK_BASE_URL": partner.base_url}
        programs = {}
        for module, gives in (
            ("gateway_svc", "GATEWAY_TARGET"),
            ("khqr_svc", "KHQR_TARGET"),
            ("rest_bridge", "BRIDGE_URL"),
        ):
            programs[module] = await stack.enter_async_context(
                running(module=module, environ=environ, folder=tmp_path)
            )
            environ[gives] = programs[module].address
        yield House(
            programs=programs, services=services, public=public, stranger=stranger, canaries=fed
        )


def sealed_banks(folder: Path, fed: Canaries) -> dict[str, str]:
    """Write the banks, their secrets sealed in place."""
    (folder / "config.key").write_text(key_line(key=CONFIG_KEY))
    places = {
        place: seal(
            text=fed(place), name=f"AMK.{name}", key=CONFIG_KEY, nonce=number.to_bytes(12, "big")
        )
        for number, (place, name) in enumerate(
            {
                "username": "sign_in.username",
                "password": "sign_in.password",
                "key": "signing.key",
            }.items()
        )
    }
    (folder / "banks.toml").write_text(BANKS.format(**places))
    return {
        "BANKS_FILE": str(folder / "banks.toml"),
        "CONFIG_KEY_FILE": str(folder / "config.key"),
    }


async def https(house: House, path: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=house.public.file)
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"https://{house.address('rest_bridge')}{path}",
            headers={"Authorization": f"Bearer {KEY.token(scopes=['payments:inquire'])}"},
            ssl=context,
        ) as response,
    ):
        return response.status, await response.read()


async def test_every_part_is_reached_over_tls(house: House) -> None:
    async with asyncio.timeout(10):
        while (await https(house, "/readyz"))[0] != 200:  # noqa: ASYNC110 - polled over HTTPS
            await asyncio.sleep(0.1)
    status, body = await https(house, INQUIRY)
    assert status == 200, body
    house.silent()


async def test_strangers_at_every_port_get_nothing_and_no_log_breaks(house: House) -> None:
    own = house.stranger.issue("client.internal", file="client")
    for module in ("gateway_svc", "khqr_svc"):
        for channel in (
            grpc.aio.insecure_channel(house.address(module)),
            shown_to(house, module, own),
        ):
            async with channel:
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await health_pb2_grpc.HealthStub(channel).Check(
                        health_pb2.HealthCheckRequest(), timeout=5
                    )
                assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    for program in house.programs.values():
        host, _, port = program.address.rpartition(":")
        for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
            writer.close()
    assert (await https(house, INQUIRY))[0] == 200
    house.silent()


def shown_to(house: House, module: str, own: Certificate) -> grpc.aio.Channel:
    name = {"gateway_svc": "gateway.internal", "khqr_svc": "khqr.internal"}[module]
    return grpc.aio.secure_channel(
        house.address(module),
        grpc.ssl_channel_credentials(
            house.services.file.read_bytes(), own.key.read_bytes(), own.chain.read_bytes()
        ),
        [("grpc.ssl_target_name_override", name)],
    )


async def test_a_replaced_certificate_of_the_gateway_is_shown(house: House) -> None:
    replaced = house.services.issue("gateway.internal", file="gateway")
    wanted = x509.load_pem_x509_certificate(replaced.chain.read_bytes()).serial_number
    async with asyncio.timeout(10):
        while await serial_at(house, "gateway_svc") != wanted:  # noqa: ASYNC110 - over TLS
            await asyncio.sleep(0.2)
    assert (await https(house, INQUIRY))[0] == 200
    house.silent()


async def serial_at(house: House, module: str) -> int:
    own = house.services.issue("client.internal", file="watcher")
    context = ssl.create_default_context(cafile=house.services.file)
    context.check_hostname = False
    context.load_cert_chain(own.chain, own.key)
    context.set_alpn_protocols(["h2"])
    host, _, port = house.address(module).rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: Any = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number
