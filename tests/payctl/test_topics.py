"""`payctl topics` makes what the gateway writes to.

| given                               | says, and ends with                        |
|-------------------------------------|--------------------------------------------|
| a cluster without them              | made, 0; the second time: is there, 0      |
| --dry-run                           | would be made, 0; nothing is               |
| other partitions than asked for     | IS THERE with ...: left as it is, 1        |
| more replicas than brokers          | NOT MADE, 1                                |
| EVENTS_URL that is no Kafka         | the variable by name, 2                    |
| more in-sync replicas than replicas | the option by name, 2                      |
| nobody at the address               | the address, 1                             |
"""

import json
import os
import subprocess
import sys
from uuid import uuid4

import pytest

from chassis.kafka import KafkaOptions, topic_names
from tests.support.kafka import KafkaOfSession

_NAMES = ("gateway.payment.verified", "gateway.payment.confirmed", "gateway.payment.success",
          "khqr.generated-event")  # fmt: skip


def _payctl(*arguments: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "payctl", "topics", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
    )
    return done.returncode, done.stdout, done.stderr


async def test_topics_are_made_once_as_the_prefix_says(real_kafka: KafkaOfSession) -> None:
    prefix = f"t{uuid4().hex}"
    around = {"EVENTS_URL": f"kafka://{real_kafka.bootstrap}", "TOPIC_PREFIX": prefix}
    names = [f"{prefix}.{name}" for name in _NAMES]

    code, said, _ = _payctl("--dry-run", "--json", **around)
    assert code == 0
    assert json.loads(said) == dict.fromkeys(names, "would be made, 6 partitions, 1 replicas")
    for expected in ("made, 6 partitions, 1 replicas", "is there, 6 partitions"):
        code, said, _ = _payctl(**around)
        assert code == 0
        assert said.splitlines() == [f"{name}: {expected}" for name in names]
    code, said, _ = _payctl("--partitions", "3", **around)
    assert code == 1
    assert "IS THERE with 6 partitions, not 3: left as it is" in said
    there = await topic_names(bootstrap_servers=[real_kafka.bootstrap], options=KafkaOptions())
    assert {name: there[name] for name in names} == dict.fromkeys(names, 6)


def test_what_cannot_be_made_is_told(real_kafka: KafkaOfSession) -> None:
    code, said, _ = _payctl(
        "--replication-factor", "2", EVENTS_URL=f"kafka://{real_kafka.bootstrap}",
        TOPIC_PREFIX=f"t{uuid4().hex}",
    )  # fmt: skip
    assert code == 1
    assert said.count("NOT MADE: InvalidReplicationFactorError") == 4


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "named"),
    [
        ([], {}, 2, "EVENTS_URL: topics need kafka://"),
        ([], {"EVENTS_URL": "kafka://one"}, 2, "EVENTS_URL: topics need kafka://"),
        ([], {"EVENTS_URL": "kafka://127.0.0.1:1", "TOPIC_PREFIX": "a b"}, 2, "TOPIC_PREFIX"),
        (["--min-insync-replicas", "2"], {"EVENTS_URL": "kafka://127.0.0.1:1"}, 2,
         "--min-insync-replicas: 2 is more"),
        ([], {"EVENTS_URL": "kafka://127.0.0.1:1"}, 1, "127.0.0.1:1: Kafka"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_that_names_it(
    arguments: list[str], environ: dict[str, str], code: int, named: str
) -> None:
    got, _, said = _payctl(*arguments, **environ)
    assert got == code
    assert f"payctl: {named}" in said
    assert "Traceback" not in said
