"""A real Kafka broker on this machine: KRaft, one node, its data in one folder."""

from __future__ import annotations

import socket
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from devstack.errors import StackError
from devstack.jars import kafka_class_path
from devstack.java import java_program
from devstack.ports import LOCALHOST, remembered_ports
from devstack.service import Service, wait_until_ready
from devstack.topics import reachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_START_LIMIT_S = 60
_MAIN_LISTENER = "PLAINTEXT"

# A single node, and no waiting that only a cluster needs.
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the controller takes the broker back only when its old session has run out: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

_LOGGING = """\
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %-5p %m (%c{{1}})%n%throwable
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


class AnyBroker(Protocol):
    """A broker that answers at `bootstrap`, whoever started it."""

    @property
    def bootstrap(self) -> str:
        """Where clients connect to: host:port, several by commas."""

    def stop(self) -> None:
        """Ends it when it is ours; leaves anyone else's alone."""


class ExternalBroker:
    """Someone else's broker: used, never started or stopped.

    Raises:
        StackError: it doesn't answer.
    """

    def __init__(self, bootstrap: str, timeout_s: float = 15) -> None:
        self.bootstrap = bootstrap
        if not reachable(bootstrap, timeout_s=timeout_s):
            raise StackError(
                f"No Kafka broker answers at {bootstrap}, which KAFKA_BOOTSTRAP names.",
                "Start it, correct the address, or unset KAFKA_BOOTSTRAP: a broker is then started here.",
            )

    def stop(self) -> None:
        """Leaves it as it is."""


class Broker:
    """A broker of our own. Its records, topics and ports survive `stop` and `kill`; `start` brings them back.

    Args:
        folder: everything it keeps is in here.
        properties: further server properties; they win over ours.
        listeners: further listeners, each name with its security protocol, for example
            `{"SECURE": "SASL_PLAINTEXT"}`; `address` tells where they listen.
        heap_mb: the most memory that Java's heap may take.
        joins: the started broker whose cluster this one belongs to; None: it is the first of its own, with the
            controller. A further one needs a `node.id` in its properties.
    """

    def __init__(
        self,
        folder: Path,
        properties: Mapping[str, str] | None = None,
        *,
        listeners: Mapping[str, str] | None = None,
        heap_mb: int = 400,
        joins: Broker | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.properties = dict(properties or {})
        self.joins = joins
        self.cluster_id: str = joins.cluster_id if joins else str(uuid.uuid4())
        self.listeners = {_MAIN_LISTENER: _MAIN_LISTENER, **(listeners or {})}
        self.heap_mb = heap_mb
        self.log = self.folder / "broker.log"
        self.service: Service | None = None
        self._ports: dict[str, int] = {}

    @property
    def bootstrap(self) -> str:
        """Where clients connect to."""
        return self.address(_MAIN_LISTENER)

    def address(self, listener: str) -> str:
        """Returns host:port of one listener, known from the first `start` on."""
        return f"{LOCALHOST}:{self._ports[listener]}"

    def start(self) -> None:
        """Returns when the broker answers. Started again, it has the same data and, where free, its ports.

        Raises:
            StackError: it doesn't come up; the message has the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        class_path, java = kafka_class_path(), java_program()
        if self.service is None or not self._ports:
            names = [*self.listeners, *([] if self.joins else ["CONTROLLER"])]
            self._ports = remembered_ports(names, self.folder / "ports.json")
        settings = self._write_settings()
        output = self.folder / "broker.out"
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, class_path, settings, output)
        self.service = Service.start(
            "The Kafka broker",
            [java, *self._java_options(), "-cp", class_path, "kafka.Kafka", str(settings)],
            folder=self.folder,
            log=output,
        )
        wait_until_ready(self.service, self._answers, _START_LIMIT_S)

    def stop(self) -> None:
        """Ends the broker in good order, or by force when that takes longer than the grace."""
        if self.service:
            self.service.stop()

    def kill(self) -> None:
        """Ends the broker at once, without a warning."""
        if self.service:
            self.service.kill()

    def _answers(self) -> bool:
        host, port = self.bootstrap.split(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, int(port))):
                return False
        return reachable(self.bootstrap, timeout_s=2)

    def _java_options(self) -> list[str]:
        logging = self.folder / "log4j2.properties"
        logging.write_text(_LOGGING.format(log=self.log))
        return [
            f"-Xmx{self.heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # halves the cost of a start
            "-XX:-UsePerfData",
            f"-Dlog4j2.configurationFile={logging}",
            f"-Djava.io.tmpdir={self.folder}",
        ]

    def _write_settings(self) -> Path:
        addresses = ",".join(f"{name}://{LOCALHOST}:{port}" for name, port in self._ports.items())
        advertised = ",".join(part for part in addresses.split(",") if not part.startswith("CONTROLLER:"))
        protocols = {"CONTROLLER": "PLAINTEXT", **self.listeners}
        settings = {
            **_PROPERTIES,
            **({"process.roles": "broker"} if self.joins else {}),
            "controller.quorum.voters": f"1@{(self.joins or self).address('CONTROLLER')}",
            "listeners": addresses,
            "advertised.listeners": advertised,
            "listener.security.protocol.map": ",".join(f"{name}:{what}" for name, what in protocols.items()),
            "inter.broker.listener.name": _MAIN_LISTENER,
            "log.dirs": str(self.folder / "data"),
            **self.properties,
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    def _format(self, java: str, class_path: str, settings: Path, output: Path) -> None:
        task = [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            self.cluster_id,
            "--config",
            str(settings),
        ]
        formatting = Service.start(
            "Formatting the broker's data folder",
            [java, *self._java_options(), "-cp", class_path, *task],
            folder=self.folder,
            log=output,
        )
        if formatting.wait(_START_LIMIT_S):
            raise StackError(
                f"The broker's data folder can't be formatted:\n{formatting.log_tail()}", f"Read {output}."
            )


@contextmanager
def running_broker(
    folder: Path, properties: Mapping[str, str] | None = None, *, listeners: Mapping[str, str] | None = None
) -> Iterator[Broker]:
    """Gives a broker that answers, and leaves no process behind, whatever happens in between."""
    broker = Broker(folder, properties, listeners=listeners)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
