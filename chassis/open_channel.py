"""Channels between the services of the house."""

import json
from typing import Any

import grpc

from chassis.channel import RenewedChannel
from chassis.frame_channel import FrameChannel
from chassis.rpc_server import MESSAGE_LIMIT_BYTES
from chassis.settings import Variables
from chassis.tls import TlsFiles, watched_material

_STREAMS = 1  # one batches best; several share the load of several replicas
_CHANNEL_OPTIONS = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    # Else a new channel shares the connection of an older one to the same address, and refuses
    # its first calls while that one still counts the pause after a failure.
    ("grpc.use_local_subchannel_pool", 1),
)


def read_streams(*, variables: Variables) -> int:
    """Return over how many streams a service is called; 0: each call travels alone.

    :raises SettingError: the value is no number from 0 to 16.
    """
    return variables.integer("GRPC_STREAMS", default=_STREAMS, least=0, most=16)


def open_channel(
    *, target: str, tls: TlsFiles | None = None, server_name: str = "", streams: int = 0
) -> grpc.aio.Channel:
    """Return a channel to `target` that follows the health of every address behind it.

    With `streams` unary calls that are made together travel together, over so many streams.

    With `tls` its certificate must speak for the target's host, or for `server_name`.
    Deadlines travel with each call (`timeout=`), never in the service configuration,
    which grpc-python fires early. `pick_first` would ignore health, hence round_robin.

    :raises SettingError: the files of `tls` cannot be used.
    """
    config = json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": ""},
        }
    )
    options: list[tuple[str, Any]] = [*_CHANNEL_OPTIONS, ("grpc.service_config", config)]
    if tls is None:
        plain = grpc.aio.insecure_channel(target, options=options)
        return FrameChannel(channel=plain, streams=streams) if streams else plain
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    renewed = RenewedChannel(
        watched=watched_material(files=tls),
        open_with=lambda material: grpc.aio.secure_channel(
            target,
            grpc.ssl_channel_credentials(material.ca, material.key, material.certificate),
            options=options,
        ),
    )
    if streams:
        return FrameChannel(channel=renewed, streams=streams, generation=renewed.current)
    return renewed
