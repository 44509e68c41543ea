"""`python -m tests.support.kafka_run`: a real Kafka in the foreground, behind `make kafka`."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import KafkaNotRunnable, kafka_version


def main() -> int:
    """Run a broker until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--folder", type=Path, default=Path("var/kafka"))
    arguments = parser.parse_args()
    broker = KafkaBroker(arguments.folder, port=arguments.port)
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    sys.stdout.write(f"Apache Kafka {kafka_version()}: starting\n")
    sys.stdout.flush()
    try:
        broker.start()
    except KafkaNotRunnable as reason:
        sys.stderr.write(f"{reason}; see {broker.log}\n")
        return 1
    url = f"kafka://{broker.bootstrap}"
    sys.stdout.write(
        f"\nApache Kafka {kafka_version()} listens on {broker.bootstrap}, data in"
        f" {arguments.folder}. Ctrl-C stops it.\n\n"
        f"  EVENTS_URL={url} make topics   # it makes no topic by itself\n"
        f"  EVENTS_URL={url} make run\n\n"
    )
    sys.stdout.flush()
    try:
        while not asked_to_stop.wait(timeout=0.5):
            if not broker.running:
                sys.stderr.write(f"the broker ended; see {broker.log}\n")
                return 1
    finally:
        broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
