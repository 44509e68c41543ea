"""One real Apache Kafka broker as a child process: started, killed, frozen, started again.

It keeps its data and its ports in a folder of its own. It ends with the process that started
it, however that ends. `python -m tests.support.kafka_run` runs one in the foreground.
"""

import asyncio
import atexit
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chassis.kafka import KafkaOptions, topic_names
from payctl import tether
from tests.support.kafka_jars import KafkaNotRunnable, kafka_jars

_HOST = "127.0.0.1"
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0
_POLL_S = 0.1
_JAVA = ("java", "-Xmx512m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

# The kernel ends a child when the thread that made it ends: this one lasts as long as we do.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-spawner")


class KafkaBroker:
    """A broker and controller in one; `folder` holds its data and its log.

    Clients reach it at `bootstrap`, and are told to go on to `advertised` (a proxy's address)
    where that is given. `direct` is a way past the proxy.
    """

    def __init__(
        self, folder: Path, port: int | None = None, advertised: str | None = None
    ) -> None:
        self._folder = folder
        self._wanted_port = port
        self._advertised = advertised
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: tuple[int, int, int] | None = None

    @property
    def bootstrap(self) -> str:
        """Return `host:port` of the listener."""
        return f"{_HOST}:{self._known_ports()[0]}"

    @property
    def direct(self) -> str:
        """Return `host:port` of a second listener, which no proxy stands before."""
        return f"{_HOST}:{self._known_ports()[1]}"

    @property
    def pid(self) -> int:
        """Return the process id of the running broker."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return whether the broker's process is there; a frozen one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """Return the file of what the broker says."""
        return self._folder / "server.log"

    def start(self) -> None:
        """Start the broker and wait until it answers a client.

        :raises KafkaNotRunnable: it cannot be had here, or did not come up.
        """
        jars = kafka_jars(environ=os.environ)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        classes = f"{jars}/*"
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(classes)
        command = [
            *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid())),
            *(_found("java"), *_JAVA[1:], *self._logging(), "-cp", classes),
            *("kafka.Kafka", str(self._properties)),
        ]
        with self.log.open("ab") as output:
            self._process = _spawner.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we stop it in order
            ).result()
        atexit.register(self.kill)
        self._wait_until_it_answers()

    def kill(self) -> None:
        """End the broker as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the broker to end (SIGTERM) and wait; one that does not is killed."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let the broker's connections stand and say nothing (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.kill)
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen one hears nothing but SIGKILL
        try:
            process.wait(timeout=_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _known_ports(self) -> tuple[int, int, int]:
        """Return the ports of clients, of those past the proxy, and of the controller."""
        if self._ports is None:
            file = self._folder / "ports"
            if file.exists():  # the quorum remembers where its controller listens
                first, second, third = map(int, file.read_text(encoding="ascii").split())
            else:
                first, second, third = _free_ports(3)
            if self._wanted_port is not None:
                first = self._wanted_port
            self._ports = (first, second, third)
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{first} {second} {third}\n", encoding="ascii")
        return self._ports

    def _write_properties(self) -> None:
        clients, direct, controller = self._known_ports()
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"{_HOST}:{controller}",
            "listeners": f"PLAINTEXT://{_HOST}:{clients},DIRECT://{_HOST}:{direct},"
            f"CONTROLLER://{_HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self._advertised or self.bootstrap},"
            f"DIRECT://{self.direct},CONTROLLER://{_HOST}:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DIRECT:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "DIRECT",
            "log.dirs": str((self._folder / "data").absolute()),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A broker that was killed may register again when its old session has ended.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "log.index.size.max.bytes": "1048576",
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        self._properties.write_text(text, encoding="utf-8")
        self._log_settings.write_text(
            "rootLogger.level=warn\nrootLogger.appenderRef.o.ref=out\nappender.o.type=Console\n"
            "appender.o.name=out\nappender.o.layout.type=PatternLayout\n"
            "appender.o.layout.pattern=%d %p %c{1}: %m%n\n",
            encoding="utf-8",
        )

    @property
    def _log_settings(self) -> Path:
        return self._folder / "log4j2.properties"

    def _logging(self) -> tuple[str, ...]:
        return (f"-Dlog4j2.configurationFile={self._log_settings.absolute()}",)

    def _format(self, classes: str) -> None:
        cluster = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).rstrip(b"=").decode()
        done = subprocess.run(
            [*_JAVA, *self._logging(), "-cp", classes, "kafka.tools.StorageTool", "format",
             "--standalone", "-t", cluster, "-c", str(self._properties)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_LIMIT_S,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise KafkaNotRunnable(f"Kafka: format: {said[-1] if said else done.returncode}")

    def _wait_until_it_answers(self) -> None:
        deadline_s = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline_s:
            if not self.running:
                raise KafkaNotRunnable(f"Kafka: the broker ended: {self._last_words()}")
            with contextlib.suppress(OSError), socket.create_connection(_split(self.direct), 1):
                if _answers(self.direct):
                    return
            time.sleep(_POLL_S)
        self.kill()
        raise KafkaNotRunnable(f"Kafka: no answer within {_START_LIMIT_S:g} s")

    def _last_words(self) -> str:
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1][:200] if said else "without a word"


def _answers(bootstrap: str) -> bool:
    """Return whether an admin client can list topics, in a loop of its own thread."""

    async def ask() -> bool:
        try:
            await topic_names(
                bootstrap_servers=[bootstrap], options=KafkaOptions(send_timeout_s=5.0)
            )
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, ask()).result()


def _found(program: str) -> str:
    """Return the path of a program; `tether` does not search for it."""
    for folder in os.get_exec_path():
        if os.access(Path(folder) / program, os.X_OK):
            return str(Path(folder) / program)
    raise KafkaNotRunnable(f"Kafka: there is no {program}")


def _split(address: str) -> tuple[str, int]:
    host, _separator, port = address.rpartition(":")
    return host, int(port)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, all different."""
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((_HOST, 0))) for _number in range(count)
        ]
        return [int(listener.getsockname()[1]) for listener in listeners]
