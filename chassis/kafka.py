"""How Kafka is met: where, as whom, and which topics there are.

Brokers of a careful operator make no topic by themselves, so that a misspelt name is an
error and not a new topic: `create_topics` makes those that are planned, and changes none
that is there (more partitions would send a key elsewhere and break its order).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code
from aiokafka.helpers import create_ssl_context

_REQUEST_SHARE = 0.8
_CREATE_LIMIT_MS = 15_000
_EXISTS = 36  # TOPIC_ALREADY_EXISTS: https://kafka.apache.org/protocol#protocol_error_codes


class KafkaUnavailable(OSError):
    """The brokers were not reached, or did not do what was asked; the text says which."""


@dataclass(frozen=True, kw_only=True)
class KafkaOptions:
    """How brokers are met: protocol, SASL login, TLS files, patience."""

    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_id: str = "payment-gateway"
    send_timeout_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class TopicPlan:
    """A topic that should be there, and how it is made where it is not."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TopicOutcome:
    """What became of a plan; `partitions` are those that the topic has now, 0 if none."""

    plan: TopicPlan
    created: bool
    partitions: int
    error: str = ""


def servers_of_url(url: str) -> Sequence[str]:
    """Return the brokers that `kafka://host:9092,host2:9092` names.

    :raises ValueError: the URL names none; it is not repeated, it may hold a password.
    """
    scheme, _separator, rest = url.partition("://")
    servers = rest.split(",")
    if scheme != "kafka" or not all(_is_server(server) for server in servers):
        raise ValueError("brokers are named by kafka://host:port,host:port")
    return servers


def connection_arguments(options: KafkaOptions) -> Mapping[str, Any]:
    """Return the arguments of aiokafka; files are read now, so a rotated one is seen."""
    found: dict[str, Any] = {
        "client_id": options.client_id,
        "security_protocol": options.security_protocol,
        # Before ours: aiokafka closes what it gives up itself, and leaves behind what is cut off.
        "request_timeout_ms": round(options.send_timeout_s * _REQUEST_SHARE * 1000),
    }
    if options.security_protocol in ("SSL", "SASL_SSL"):
        found["ssl_context"] = create_ssl_context(
            cafile=options.ca_file, certfile=options.certificate_file, keyfile=options.key_file
        )
    if options.security_protocol.startswith("SASL_"):
        found["sasl_mechanism"] = options.sasl_mechanism
        found["sasl_plain_username"] = options.sasl_username
        found["sasl_plain_password"] = options.sasl_password
    return found


async def topic_names(
    *, bootstrap_servers: Sequence[str], options: KafkaOptions
) -> Mapping[str, int]:
    """Return the topics of the cluster, each with how many partitions it has.

    :raises KafkaUnavailable: the brokers do not answer.
    """
    async with _admin(bootstrap_servers, options) as admin:
        return await _partitions(admin)


async def create_topics(
    *,
    bootstrap_servers: Sequence[str],
    options: KafkaOptions,
    plans: Sequence[TopicPlan],
    dry_run: bool = False,
) -> Sequence[TopicOutcome]:
    """Make the planned topics that are not there, and return what became of each plan.

    With `dry_run` the brokers check the plans and make nothing.

    :raises KafkaUnavailable: the brokers do not answer.
    """
    async with _admin(bootstrap_servers, options) as admin:
        before = await _partitions(admin)
        missing = [plan for plan in plans if plan.name not in before]
        errors = await _create(admin, missing, dry_run=dry_run) if missing else {}
        return [
            TopicOutcome(
                plan=plan,
                created=plan in missing and not dry_run and plan.name not in errors,
                partitions=before.get(plan.name, 0)
                if plan not in missing or dry_run or plan.name in errors
                else plan.partitions,
                error=errors.get(plan.name, ""),
            )
            for plan in plans
        ]


async def _create(
    admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan], *, dry_run: bool
) -> Mapping[str, str]:
    """Return why topics were not made, by name."""
    answer = await admin.create_topics(
        [
            NewTopic(
                name=plan.name,
                num_partitions=plan.partitions,
                replication_factor=plan.replication_factor,
                topic_configs=dict(plan.configs),
            )
            for plan in plans
        ],
        timeout_ms=_CREATE_LIMIT_MS,
        validate_only=dry_run,
    )
    return {
        name: f"{for_code(code).__name__}: {said[0] or ''}" if said else for_code(code).__name__
        for name, code, *said in answer.topic_errors
        if code not in (0, _EXISTS)  # another one made it meanwhile: it is there
    }


async def _partitions(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    return {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}


@asynccontextmanager
async def _admin(
    bootstrap_servers: Sequence[str], options: KafkaOptions
) -> AsyncIterator[AIOKafkaAdminClient]:
    try:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=list(bootstrap_servers), **connection_arguments(options)
        )
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
    except (KafkaError, OSError, ValueError) as problem:
        raise KafkaUnavailable(f"{type(problem).__name__}: {problem}"[:200]) from problem


def _is_server(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port) and "@" not in text and parts.netloc == text
    except ValueError:
        return False
