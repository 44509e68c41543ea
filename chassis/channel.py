"""A gRPC channel over TLS that is opened anew when its certificates change.

grpc-python fixes the credentials of a channel when it is opened (a server's can be replaced,
`grpc.dynamic_ssl_server_credentials`; a client's cannot), so a client with certificates of a
day's life would have to be restarted every day.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from chassis.tls import Material
from chassis.watched import WatchedFiles

_GRACE_S = 10.0  # twice the budget of a call: what is under way ends on the old channel


class RenewedChannel(grpc.aio.Channel):
    """Stands for the channel of the present files; calls under way finish on theirs."""

    def __init__(
        self,
        *,
        watched: WatchedFiles[Material],
        open_with: Callable[[Material], grpc.aio.Channel],
    ) -> None:
        self._watched = watched
        self._open_with = open_with
        self._material = watched.value()
        self._channel = open_with(self._material)
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._closed = False

    def current(self) -> grpc.aio.Channel:
        """Return the channel of the files as they are now."""
        material = self._watched.value()
        if material is not self._material and not self._closed:
            old, self._channel = self._channel, self._open_with(material)
            self._material = material
            task = asyncio.get_running_loop().create_task(_closed_later(old))
            self._closing[task] = old
            task.add_done_callback(self._closing.pop)
        return self._channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_problem: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the present channel, and what is left of older ones."""
        self._closed = True
        closing = dict(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        for channel in (*closing.values(), self._channel):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - grpc's form
        """Return the state of the present channel."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for the present channel to leave a state."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the present channel is connected."""
        await self.current().channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called on the channel of its time."""
        return _Method(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called on the channel of its time."""
        return _Method(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called on the channel of its time."""
        return _Method(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method that is called on the channel of its time."""
        return _Method(self, "stream_stream", arguments, options)


async def _closed_later(channel: grpc.aio.Channel) -> None:
    # Its own `close(grace)` leaves calls running if it is cancelled while it waits.
    await asyncio.sleep(_GRACE_S)
    await channel.close()


class _Method:
    """A method of a service, made once per channel."""

    def __init__(
        self, channel: RenewedChannel, kind: str, arguments: tuple[Any, ...], options: Any
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = arguments
        self._options = options
        self._made_for: grpc.aio.Channel | None = None
        self._made: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        channel = self._channel.current()
        if channel is not self._made_for:
            self._made = getattr(channel, self._kind)(*self._arguments, **self._options)
            self._made_for = channel
        return self._made(*arguments, **options)
