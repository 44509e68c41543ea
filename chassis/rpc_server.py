"""A grpc.aio server: contract services behind one interceptor, in frames too; health; drain."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis.frame_server import FrameServicer
from chassis.rpc import CallInterceptor
from chassis.settings import Address
from chassis.tls import TlsFiles, grpc_server_credentials
from payments.frames.v1 import frame_service_pb2_grpc

MESSAGE_LIMIT_BYTES = 1 << 20
_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # on by default: two processes would share a port by accident
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
)


class Handlers:
    """What generated code registers a servicer with: the server, and the table of frames."""

    def __init__(self, *, server: grpc.aio.Server) -> None:
        self._server = server
        self.by_method: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Register with the server."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(
        self, service: str, method_handlers: Mapping[str, Any]
    ) -> None:
        """Register with the server and remember the handlers by the paths of their methods."""
        self._server.add_registered_method_handlers(service, method_handlers)
        for name, handler in method_handlers.items():
            self.by_method[f"/{service}/{name}"] = handler


class Server:
    """A grpc.aio server with health, optional reflection, and a drain.

    Servicers are registered with `handlers`, so that their methods are served in frames too.
    """

    def __init__(
        self,
        *,
        listen: Address,
        interceptor: CallInterceptor,
        services: Iterable[ServiceDescriptor],
        with_reflection: bool,
        tls: TlsFiles | None = None,
        name: str | None = None,
    ) -> None:
        """Wire it; `name` tells this process from its replicas, and is drawn if not given."""
        self._listen = self.address = listen
        self._tls = tls
        self.interceptor = interceptor
        self._names = ("", *(service.full_name for service in services))
        self._health = health.aio.HealthServicer()
        self.grpc_server = grpc.aio.server(interceptors=[interceptor], options=_SERVER_OPTIONS)
        table = Handlers(server=self.grpc_server)
        self.handlers: Any = table  # generated code wants a server, and needs these two methods
        self._frames = FrameServicer(
            handlers=table.by_method,
            intercept=interceptor.intercept_service,
            name=name or uuid.uuid4().hex,
        )
        frame_service_pb2_grpc.add_FrameServiceServicer_to_server(self._frames, self.grpc_server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc_server)
        if with_reflection:
            reflection.enable_server_reflection(
                (*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME), self.grpc_server
            )

    async def start(self) -> Address:
        """Listen, not yet serving by health's word, and return the real address.

        :raises OSError: the address is taken or cannot be bound.
        :raises SettingError: the certificate's files cannot be used.
        """
        try:
            if self._tls is None:
                port = self.grpc_server.add_insecure_port(str(self._listen))
            else:
                port = self.grpc_server.add_secure_port(
                    str(self._listen), grpc_server_credentials(files=self._tls)
                )
        except RuntimeError as problem:
            raise OSError(f"cannot listen on {self._listen}") from problem
        await self.set_serving(serving=False)
        await self.grpc_server.start()
        self.address = Address(host=self._listen.host, port=port)
        return self.address

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health's askers whether calls are welcome."""
        statuses = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._health.set(name, statuses.SERVING if serving else statuses.NOT_SERVING)

    async def drain(self, *, grace_s: float) -> None:
        """Say "not ready", stop listening, let calls finish for `grace_s`, close."""
        await self._health.enter_graceful_shutdown()
        self._frames.drain()
        await self.grpc_server.stop(grace_s)
