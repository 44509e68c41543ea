"""A channel to a service knows nothing of what another channel has seen.

| another channel to the address      | a new one, once somebody serves there |
|-------------------------------------|---------------------------------------|
| counts a pause after a failure      | is served at once                     |
"""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chassis.open_channel import open_channel

_SERVING = health_pb2.HealthCheckResponse.SERVING


async def _health_on(port: int) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = health.aio.HealthServicer()
    await servicer.set("", _SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def _asked(channel: grpc.aio.Channel) -> object:
    request = health_pb2.HealthCheckRequest()
    try:
        return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)).status
    except grpc.aio.AioRpcError as refusal:
        return refusal.code()


async def test_a_new_channel_does_not_wait_out_the_pause_of_an_older_one() -> None:
    server, port = await _health_on(0)
    await server.stop(None)
    async with open_channel(target=f"127.0.0.1:{port}") as older:
        assert await _asked(older) is grpc.StatusCode.UNAVAILABLE
        server, _ = await _health_on(port)
        try:
            async with open_channel(target=f"127.0.0.1:{port}") as newer:
                assert await _asked(newer) == _SERVING
        finally:
            await server.stop(None)
