"""`payctl topics`: make the gateway's topics, or say what would be made.

Brokers that make no topic by themselves are the safe ones: a misspelt prefix is then an
error that waits in the outbox, not a topic that nobody reads. A topic that is there is never
changed: with other partitions a key would go elsewhere and its order would break.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from chassis.kafka import (
    KafkaOptions,
    KafkaUnavailable,
    TopicOutcome,
    TopicPlan,
    create_topics,
    servers_of_url,
)
from chassis.settings import SettingError, Variables, own_variables
from gateway_svc.events import topics_of
from gateway_svc.settings import events_url, kafka_options, topic_prefix

_MOST_PARTITIONS = 1000
_MOST_REPLICAS = 9
_MOST_DAYS = 3650
_MS_OF_DAY = 86_400_000


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    servers: Sequence[str]
    options: KafkaOptions
    prefix: str
    production: bool


def topics_command(
    *,
    partitions: Annotated[
        int, typer.Option(min=1, max=_MOST_PARTITIONS, help="Of each new topic.")
    ] = 6,
    replication_factor: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_REPLICAS, help="3 in production, 1 on a laptop."),
    ] = None,
    min_insync: Annotated[
        int | None,
        typer.Option(
            "--min-insync-replicas",
            min=1,
            max=_MOST_REPLICAS,
            help="How many must have an event before it is acknowledged; one less than all.",
        ),
    ] = None,
    retention_days: Annotated[
        int, typer.Option(min=1, max=_MOST_DAYS, help="How long events stay readable.")
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask, make nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make the gateway's topics where they are missing; 1 if one is not as asked for."""
    cluster = _cluster(own_variables())
    replicas = replication_factor or (3 if cluster.production else 1)
    insync = min_insync or max(1, replicas - 1)
    if insync > replicas:
        raise SettingError(
            f"--min-insync-replicas: {insync} is more than there are replicas ({replicas})"
        )
    plans = [
        TopicPlan(
            name=name,
            partitions=partitions,
            replication_factor=replicas,
            configs={
                "min.insync.replicas": str(insync),
                "retention.ms": str(retention_days * _MS_OF_DAY),
                "cleanup.policy": "delete",
            },
        )
        for name in topics_of(prefix=cluster.prefix)
    ]
    try:
        outcomes = asyncio.run(
            create_topics(
                bootstrap_servers=cluster.servers,
                options=cluster.options,
                plans=plans,
                dry_run=dry_run,
            )
        )
    except KafkaUnavailable as problem:
        sys.stderr.write(f"payctl: {','.join(cluster.servers)}: {problem}\n")
        raise typer.Exit(1) from None
    said = {one.plan.name: _what_became(one, dry_run=dry_run) for one in outcomes}
    if as_json:
        typer.echo(json.dumps(said))
    else:
        for name, what in said.items():
            typer.echo(f"{name}: {what}")
    if any(one.error or one.partitions not in (0, one.plan.partitions) for one in outcomes):
        raise typer.Exit(1)


def _cluster(variables: Variables) -> _Cluster:
    """Return where the topics are to be.

    :raises SettingError: events go elsewhere.
    """
    try:
        servers = servers_of_url(events_url(variables))
    except ValueError:
        raise SettingError("EVENTS_URL: topics need kafka://host:port,host:port") from None
    environment = variables.choice(
        "ENVIRONMENT", choices=("development", "production"), default="development"
    )
    return _Cluster(
        servers=servers,
        options=kafka_options(variables),
        prefix=topic_prefix(variables),
        production=environment == "production",
    )


def _what_became(outcome: TopicOutcome, *, dry_run: bool) -> str:
    plan = outcome.plan
    if outcome.error:
        return f"NOT MADE: {outcome.error}"
    if outcome.created:
        return f"made, {plan.partitions} partitions, {plan.replication_factor} replicas"
    if outcome.partitions == 0 and dry_run:
        return f"would be made, {plan.partitions} partitions, {plan.replication_factor} replicas"
    if outcome.partitions != plan.partitions:
        return (
            f"IS THERE with {outcome.partitions} partitions, not {plan.partitions}: left as it is"
        )
    return f"is there, {outcome.partitions} partitions"
