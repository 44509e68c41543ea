"""HTTPS on the bridge: what a caller over TLS meets. The bridge runs on either loop.

| the caller                                  | what happens                                 |
|---------------------------------------------|----------------------------------------------|
| TLS 1.2 or 1.3, http/1.1                    | is answered                                  |
| TLS 1.1; CBC, or no forward secrecy         | no handshake                                 |
| plain HTTP on the TLS port                  | is closed                                    |
| after the certificate's files were replaced | sees the new one; a broken one is not used   |
| where client certificates are asked for: none, a stranger's | no answer                    |
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from chassis.settings import Address, Variables
from chassis.tls import read_server_tls
from rest_bridge.contract import load_contract, read_image
from rest_bridge.service import start
from tests.support.certificates import Authority, Certificate, variables_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning"
)


LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return the authority of the bridge; its files are looked at for each connection."""
    monkeypatch.setattr("chassis.tls._LOOK_EVERY_S", 0.0)
    return Authority(folder=tmp_path / "house")


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_of_bridge(request: pytest.FixtureRequest) -> LoopFactory:
    """Return what makes the loop that the bridge runs on, in a thread of its own."""
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


@contextlib.contextmanager
def serving(
    house: Authority, loop_of_bridge: LoopFactory, *, clients: Authority | None = None
) -> Iterator[Address]:
    environ = variables_of("BRIDGE", house.issue("127.0.0.1", file="bridge"))
    if clients is not None:
        environ["BRIDGE_TLS_CLIENT_CA_PATH"] = str(clients.file)
    variables = Variables(environ=environ)
    started: Future[tuple[Address, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        running = await start(
            contract=load_contract(image=read_image(path=None)),
            targets={"GATEWAY": "127.0.0.1:1", "KHQR": "127.0.0.1:1"},
            listen=[Address(host="127.0.0.1", port=0)],
            tls=read_server_tls(variables=variables, name="BRIDGE", production=True),
        )
        started.set_result((running.addresses[0], asyncio.get_running_loop(), stop))
        await stop.wait()
        await running.drain()

    def run() -> None:
        with asyncio.Runner(loop_factory=loop_of_bridge) as runner:
            runner.run(serve())

    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run)
        address, loop, stop = started.result(10)
        try:
            yield address
        finally:
            loop.call_soon_threadsafe(stop.set)
            ended.result(20)


def trusting(house: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=house.file)


async def met(address: Address, context: ssl.SSLContext) -> ssl.SSLObject:
    """Ask over TLS and return what was agreed on.

    :raises ssl.SSLError, OSError, EOFError: no handshake, or no answer after it.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        assert line == b"HTTP/1.1 200 OK\r\n"
        found: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return found
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


REFUSED = (ssl.SSLError, OSError, EOFError)


async def test_modern_tls_is_answered(house: Authority, loop_of_bridge: LoopFactory) -> None:
    with serving(house, loop_of_bridge) as address:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(house)
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            agreed = await met(address, context)
            assert agreed.version() == version.name.replace("_", ".")
            assert agreed.selected_alpn_protocol() == "http/1.1"
            assert agreed.compression() is None


def old_version(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def old_cipher(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:AES256-GCM-SHA384")


@pytest.mark.parametrize("change", [old_version, old_cipher])
async def test_old_tls_gets_no_handshake(
    house: Authority, loop_of_bridge: LoopFactory, change: Callable[[ssl.SSLContext], None]
) -> None:
    with serving(house, loop_of_bridge) as address:
        context = trusting(house)
        change(context)
        with pytest.raises(REFUSED):
            await met(address, context)


async def test_plain_http_on_the_tls_port_is_closed(
    house: Authority, loop_of_bridge: LoopFactory
) -> None:
    with serving(house, loop_of_bridge) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        told = b""
        with contextlib.suppress(ConnectionError):
            told = await asyncio.wait_for(reader.read(), 5)
        assert b"HTTP" not in told
        writer.close()


def serial(agreed: ssl.SSLObject) -> object:
    found = agreed.getpeercert()
    assert found is not None
    return found["serialNumber"]


async def test_a_replaced_certificate_is_shown_and_a_broken_one_is_not_used(
    house: Authority,
    loop_of_bridge: LoopFactory,
) -> None:
    with serving(house, loop_of_bridge) as address:
        first = serial(await met(address, trusting(house)))
        replaced = house.issue("127.0.0.1", file="bridge")
        second = serial(await met(address, trusting(house)))
        assert second != first
        replaced.chain.write_text("half a")
        assert serial(await met(address, trusting(house))) == second


async def test_callers_need_a_certificate_where_an_authority_is_named(
    house: Authority, loop_of_bridge: LoopFactory, tmp_path: Path
) -> None:
    banks = Authority(folder=tmp_path / "banks")
    stranger = Authority(folder=tmp_path / "stranger")

    def showing(own: Certificate) -> ssl.SSLContext:
        context = trusting(house)
        context.load_cert_chain(own.chain, own.key)
        return context

    with serving(house, loop_of_bridge, clients=banks) as address:
        for context in (trusting(house), showing(stranger.issue("bank"))):
            with pytest.raises(REFUSED):
                await met(address, context)
        bank = showing(banks.issue("bank"))
        await met(address, bank)
        # The bank's authority is replaced: who was let in is not any more.
        (banks.folder / "ca.pem").write_bytes(stranger.file.read_bytes())
        with pytest.raises(REFUSED):
            await met(address, bank)
        await met(address, showing(stranger.issue("bank")))
