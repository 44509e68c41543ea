"""`python -m chassis.healthcheck`: 0 if the service at `HEALTHCHECK_URL` says that it is well.

For a container that has nothing but Python: `grpc://host:port` asks gRPC's health service (over
TLS with the `CLIENT_TLS_*` files, where they are set), `http://host:port/path` wants a 200.
"""

import asyncio
import sys
import urllib.request
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.open_channel import open_channel
from chassis.settings import SettingError, Variables, own_variables
from chassis.telemetry import complain
from chassis.tls import read_client_tls, server_name_of

_TIMEOUT_S = 2.0
_OK = 200
_NAME = "HEALTHCHECK_URL"


def is_well(*, variables: Variables) -> bool:
    """Tell whether the service says that it is well.

    :raises SettingError: there is no URL, or one that cannot be asked.
    """
    url = variables.url(_NAME, schemes=("grpc", "http"))
    parts = urlsplit(url)
    if parts.scheme == "grpc":
        return asyncio.run(_grpc_is_well(parts.netloc, variables))
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            return bool(answer.status == _OK)
    except OSError:  # of which HTTP's errors are a kind
        return False


async def _grpc_is_well(target: str, variables: Variables) -> bool:
    channel = open_channel(
        target=target,
        tls=read_client_tls(variables=variables, production=False),
        server_name=server_name_of(variables=variables, name="HEALTHCHECK"),
        streams=0,
    )
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S
        )
    except grpc.aio.AioRpcError:
        return False
    finally:
        await channel.close()
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Return the exit code: 0 well, 1 not, 2 with one line if it cannot ask."""
    try:
        return 0 if is_well(variables=own_variables()) else 1
    except (SettingError, OSError) as problem:
        complain(service="healthcheck", problem=problem)
        return 2


if __name__ == "__main__":
    sys.exit(main())
