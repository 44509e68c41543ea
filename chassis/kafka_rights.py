"""What we may do with topics, by the brokers' own word: Metadata version 8 (KIP-430).

aiokafka speaks version 5, which does not tell; the newer one is spelled here.
https://kafka.apache.org/protocol#The_Messages_Metadata
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from chassis.kafka import KafkaOptions, KafkaUnavailable, connection_arguments

_KEY, _VERSION = 3, 8
_PARTITION = (
    *(("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32)),
    *(("replicas", Array(Int32)), ("isr", Array(Int32)), ("offline", Array(Int32))),
)
_TOPIC = (
    *(("error_code", Int16), ("topic", String("utf-8")), ("is_internal", Boolean)),
    *(("partitions", Array(*_PARTITION)), ("authorized", Int32)),
)
_BROKER = (
    *(("node_id", Int32), ("host", String("utf-8"))),
    *(("port", Int32), ("rack", String("utf-8"))),
)


class Right(IntEnum):
    """What may be done with a topic; the number is its bit."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8


class _Answer(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY = _KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(*_BROKER)),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        ("topics", Array(*_TOPIC)),
        ("cluster_authorized", Int32),
    )


class _Question(RequestStruct):  # type: ignore[misc] # as above
    API_KEY = _KEY
    API_VERSION = _VERSION
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Rights(Request[_Question]):  # type: ignore[misc] # as above
    API_KEY = _KEY

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_Question]) -> _Question:
        """Return the question: no topic is made by asking for it."""
        return request_struct_class(self._topics, False, False, True)


async def rights_on(
    *, bootstrap_servers: Sequence[str], options: KafkaOptions, topics: Sequence[str]
) -> Mapping[str, frozenset[Right] | str]:
    """Return what we may do with each of `topics`, or why the brokers do not say.

    :raises KafkaUnavailable: the brokers do not answer, or are older than Kafka 2.3.
    """
    client = AIOKafkaClient(
        bootstrap_servers=list(bootstrap_servers), **connection_arguments(options)
    )
    try:
        await client.bootstrap()
        answer: Any = await client.send(client.get_random_node(), _Rights(topics))
    except (KafkaError, OSError, ValueError, NotImplementedError) as problem:
        raise KafkaUnavailable(f"{type(problem).__name__}: {problem}"[:200]) from problem
    finally:
        await client.close()
    return {
        name: for_code(code).__name__ if code else _rights_in(bits)
        for code, name, _internal, _partitions, bits in answer.topics
    }


def _rights_in(bits: int) -> frozenset[Right]:
    return frozenset(right for right in Right if bits >> right & 1)
