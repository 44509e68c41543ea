"""The jars of one Apache Kafka broker: fetched by Maven once, kept outside the tree."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

POM = Path(__file__).parents[2] / "deploy" / "kafka" / "pom.xml"

_FETCH = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_LIMIT_S = 300
_VERSION = re.compile(r"<kafka\.version>([0-9.]+)</kafka\.version>")


class KafkaNotRunnable(Exception):
    """No broker can be had on this machine; the text is one line that says why."""


def kafka_version() -> str:
    """Return the version that the pom names."""
    found = _VERSION.search(POM.read_text(encoding="utf-8"))
    if found is None:
        raise KafkaNotRunnable(f"Kafka: {POM.name} names no version")
    return found.group(1)


def kafka_jars(*, environ: Mapping[str, str]) -> Path:
    """Return the folder of jars; whoever fetches at the same time ends with the same one.

    :raises KafkaNotRunnable: there is no Java or no Maven, or Maven cannot fetch.
    """
    if shutil.which("java") is None:
        raise KafkaNotRunnable("Kafka: there is no java (17 or later)")
    kept = _cache(environ) / f"kafka-{kafka_version()}"
    if kept.is_dir():
        return kept
    if shutil.which("mvn") is None:
        raise KafkaNotRunnable("Kafka: there is no mvn to fetch its jars with")
    kept.parent.mkdir(parents=True, exist_ok=True)
    # A folder of one's own, renamed when it is whole: nobody ever sees half of the jars.
    draft = Path(tempfile.mkdtemp(prefix=f".{kept.name}-", dir=kept.parent))
    try:
        _fetch(to=draft)
        draft.chmod(0o755)
        try:
            draft.rename(kept)
        except OSError:  # another one was first
            if not kept.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return kept


def _cache(environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "payment-gateway"


def _fetch(*, to: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(POM), _FETCH, "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={to}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_FETCH_LIMIT_S,
            check=False,
            env=dict(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise KafkaNotRunnable(f"Kafka: mvn: {type(problem).__name__}") from None
    if done.returncode != 0 or not any(to.glob("kafka_*.jar")):
        raise KafkaNotRunnable("Kafka: Maven could not fetch the jars (is its registry reachable?)")
