"""Events to Kafka: acknowledged by all replicas, in order per key, whatever the producer does."""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from chassis.delivery import HELD_BACK, Delivery, Outcome, PublishFailed, poison_of, shown
from chassis.kafka import KafkaOptions, connection_arguments
from chassis.outbox import Event

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
# A person gives the right or the login; until then the event waits, it is never set aside.
_FORBIDDEN = (
    TopicAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    SaslAuthenticationFailed,
)
# A topic that was just made has no leader for a moment.
_LOOKS_FOR_TOPIC = 3
_PAUSE_BETWEEN_LOOKS_S = 0.2
_STARTS_LAST = 4  # send time-outs
# Many keys: 4,500 to 7,800 rows/s with 1 ms, 7,400 to 7,600 with 5 (two runs each on a shared
# machine). Few keys, whose events go one at a time: 1,060 to 1,150 rows/s with 1 ms, 455 to 580
# with 5.
_LINGER_MS = 1
_CLOSE_TIMEOUT_S = 2.0


class KafkaPublisher:
    """Publishes with acks=all and idempotence; connects at the first event.

    aiokafka then never expires a batch and can wedge for good after OutOfOrderSequence, so
    every send has a time-out of ours and trouble ends the producer; the next list gets a new one.
    """

    def __init__(self, *, bootstrap_servers: Sequence[str], options: KafkaOptions) -> None:
        self._bootstrap_servers = list(bootstrap_servers)
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order."""
        try:
            producer = await self._started()
            missing = await self._missing_topics(producer, events)
        except (KafkaError, OSError, ValueError) as problem:
            await self._drop()
            return [_failure(problem)] * len(events)
        except BaseException:  # cancelled
            await self._drop()
            raise
        try:
            outcomes = await self._sent_side_by_side(producer, events, missing)
        except BaseException:  # cancelled: what is under way must not linger in this producer
            await self._drop()
            raise
        if any(_is_trouble(one) for one in outcomes):
            await self._drop()  # cheap: what failed waits for a second or more
        return outcomes

    async def close(self) -> None:
        """Close the connections; a connecting that is under way ends with its server."""
        self._closed = True
        starting = self._starting
        if starting is not None:
            await asyncio.wait({starting}, timeout=_CLOSE_TIMEOUT_S)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await self._drop()

    async def _sent_side_by_side(
        self,
        producer: AIOKafkaProducer,
        events: Sequence[Event],
        missing: Mapping[str, PublishFailed],
    ) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [HELD_BACK] * len(events)
        by_key: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            by_key.setdefault(event.key, []).append(place)
        too_large: list[int] = []

        async def send_key(places: Sequence[int]) -> None:
            # One at a time; other keys go side by side and share its requests.
            for place in places:
                event = events[place]
                try:
                    outcome = missing.get(event.topic) or await self._sent(producer, event)
                except _TOO_LARGE:
                    too_large.append(place)
                    return
                outcomes[place] = outcome
                if isinstance(outcome, PublishFailed):
                    return

        async with asyncio.TaskGroup() as group:
            for places in by_key.values():
                group.create_task(send_key(places))
        if too_large:
            # A refused batch leaves a gap in the producer's sequence: what it sends next is
            # refused as out of order.
            await self._drop()
        for place in too_large:
            outcomes[place] = await self._sent_alone(events[place])
        return outcomes

    async def _sent_alone(self, event: Event) -> Outcome:
        """Send an event in a batch of its own.

        The broker measures whole batches, and this one may have shared its own with others:
        alone it is its own size that counts.
        """
        try:
            return await self._sent(await self._started(), event)
        except _TOO_LARGE as problem:
            await self._drop()
            return PublishFailed(error=shown(problem=problem), poison=True)
        except (KafkaError, OSError, ValueError) as problem:
            return _failure(problem)

    async def _sent(self, producer: AIOKafkaProducer, event: Event) -> Outcome:
        if poison := poison_of(event=event):
            return poison
        try:
            async with asyncio.timeout(self._options.send_timeout_s):
                sent = await producer.send_and_wait(
                    event.topic,
                    value=event.value,
                    key=event.key.encode(),
                    headers=[
                        ("event-id", event.event_id.encode()),
                        ("request-id", event.request_id.encode()),
                    ],
                )
        except _TOO_LARGE:
            raise
        except (KafkaError, OSError) as problem:  # TimeoutError is an OSError
            return _failure(problem)
        return Delivery(partition=sent.partition, offset=sent.offset)

    async def _missing_topics(
        self, producer: AIOKafkaProducer, events: Sequence[Event]
    ) -> Mapping[str, PublishFailed]:
        """Return the topics of `events` that the cluster does not have, with what to say.

        aiokafka would look for one until the send times out, and the whole list would wait.
        """
        client = producer.client
        wanted = {event.topic for event in events if poison_of(event=event) is None}
        async with asyncio.timeout(self._options.send_timeout_s):
            for look in range(_LOOKS_FOR_TOPIC):
                missing = {
                    one for one in wanted if client.cluster.partitions_for_topic(one) is None
                }
                if not missing:
                    return {}
                if look:
                    await asyncio.sleep(_PAUSE_BETWEEN_LOOKS_S)
                for topic in missing:
                    client.add_topic(topic)
                if not await client.force_metadata_update():
                    raise KafkaConnectionError("no broker tells which topics there are")
        return {
            topic: PublishFailed(error=f"there is no topic {topic}", alert=True)
            for topic in _unknown(producer, wanted)
        }

    async def _started(self) -> AIOKafkaProducer:
        """Return a producer that is connected.

        A connecting that takes too long goes on behind the next lists: cut off in the middle
        it would leave its socket behind.
        """
        if self._producer is None:
            if self._starting is None:
                self._starting = asyncio.create_task(self._start(), name="kafka-start")
                self._starting.add_done_callback(_heard_of)
            async with asyncio.timeout(self._options.send_timeout_s):
                await asyncio.shield(self._starting)
            if self._producer is None:
                raise KafkaConnectionError("closed while it connected")
        return self._producer

    async def _start(self) -> None:
        """Connect by the first server that answers, one after the other."""
        problem: Exception = KafkaConnectionError("closed")
        try:
            for server in self._bootstrap_servers:
                if self._closed:
                    break
                producer = AIOKafkaProducer(
                    bootstrap_servers=server,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=_LINGER_MS,
                    **connection_arguments(self._options),
                )
                try:
                    # aiokafka asks for a producer id without an end, of brokers that may be gone.
                    async with asyncio.timeout(self._options.send_timeout_s * _STARTS_LAST):
                        await producer.start()
                except (KafkaError, OSError) as found:
                    problem = found
                    await _end(producer)
                except BaseException:
                    await _end(producer)
                    raise
                else:
                    self._producer = producer
                    return
            raise problem
        finally:
            self._starting = None

    async def _drop(self) -> None:
        """Let go of the producer; the next list gets a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)


async def _end(producer: AIOKafkaProducer) -> None:
    """End `producer` without the flush of its `stop()`, which may never end."""
    producer._closed = True  # noqa: SLF001 - stop() would set it, and flush
    sender = producer._sender  # noqa: SLF001 - as above
    for closing in (sender.close, producer.client.close):
        # A sender waits for what is under way, with a silent broker for long; one that was never
        # run raises that it is cancelled. The connections must be closed all the same.
        ended = asyncio.create_task(closing())
        ended.add_done_callback(_heard_of)
        await asyncio.wait({ended}, timeout=_CLOSE_TIMEOUT_S)
        ended.cancel()
        await asyncio.wait({ended}, timeout=_CLOSE_TIMEOUT_S)  # closing a client may go on


def _heard_of(task: asyncio.Task[None]) -> None:
    """Take the exception of a start or an end that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _unknown(producer: AIOKafkaProducer, topics: set[str]) -> set[str]:
    return {one for one in topics if producer.client.cluster.partitions_for_topic(one) is None}


def _is_trouble(outcome: Outcome) -> bool:
    """Return whether the producer may be at fault: not for poison, nor for what is missing."""
    return isinstance(outcome, PublishFailed) and not (
        outcome.poison or outcome.alert or not outcome.tried
    )


def _failure(problem: Exception) -> PublishFailed:
    return PublishFailed(
        error=shown(problem=problem),
        poison=isinstance(problem, InvalidTopicError),
        alert=isinstance(problem, _FORBIDDEN),
    )
