"""Several bridges on one port.

| the second bridge | a port that is taken | connections |
|---|---|---|
| shares as the first does | is listened to by both | go to either; one that drains gets no more |
| does not share | is an error | |
"""

from collections import Counter
from contextlib import AsyncExitStack

import pytest

from chassis.settings import Address
from rest_bridge.contract import default_contracts_image, load_contract
from rest_bridge.service import Running, start
from tests.rest_bridge.wire import all_heard

ASK = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_KNOCKS = 60  # that one of two gets none of them is one chance in 10^18


async def bridge(stack: AsyncExitStack, *, name: str, port: int, shares: bool) -> Running:
    running = await start(
        contract=load_contract(image=default_contracts_image()),
        targets={"GATEWAY": "127.0.0.1:1", "KHQR": "127.0.0.1:1"},
        listen=(Address(host="127.0.0.1", port=port),),
        shares_ports=shares,
        make_id=lambda: name,
    )
    stack.push_async_callback(running.drain)
    return running


async def who_answers(address: Address) -> Counter[str]:
    answers = [await all_heard(address, ASK) for _ in range(_KNOCKS)]
    assert {one.status for [one] in answers} == {200}
    return Counter(one.headers["X-Request-ID"] for [one] in answers)


async def test_two_bridges_share_the_connections_of_one_port() -> None:
    async with AsyncExitStack() as stack:
        first = await bridge(stack, name="first", port=0, shares=True)
        [address] = first.addresses
        await bridge(stack, name="second", port=address.port, shares=True)
        assert set(await who_answers(address)) == {"first", "second"}
        await first.drain()
        assert set(await who_answers(address)) == {"second"}


@pytest.mark.parametrize("shares", [False, True])
async def test_a_port_is_not_shared_by_accident(shares: bool) -> None:
    async with AsyncExitStack() as stack:
        first = await bridge(stack, name="first", port=0, shares=not shares)
        with pytest.raises(OSError, match="in use"):
            await bridge(stack, name="second", port=first.addresses[0].port, shares=shares)
