"""A Kafka cluster of three brokers on this machine, whose leaders a test may move, and brokers that stand still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.broker import Broker
from tests.support.topics import LIMIT_S, Topics, quiet, wait_for

_HEAP_MB = 256
_REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    # A follower that stands still leaves the replicas in sync after this long; 30 s by default.
    "replica.lag.time.max.ms": "5000",
}


class Cluster:
    """Three brokers. The first has the controller and stays up; the others may be stopped, killed and started.

    Args:
        folder: Everything the brokers keep is in here.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes = {1: Broker(folder / "1", _REPLICATED, heap_mb=_HEAP_MB)}
        for node in (2, 3):
            own = {**_REPLICATED, "node.id": str(node)}
            self.nodes[node] = Broker(folder / str(node), own, heap_mb=_HEAP_MB, joins=self.nodes[1])

    def start(self) -> None:
        """Start every broker that doesn't run; return when each answers."""
        down = [node for node, broker in self.nodes.items() if broker.service is None or not broker.service.alive()]
        if 1 in down:
            self.nodes[1].start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: self.nodes[node].start(), (node for node in down if node != 1)))

    def stop(self) -> None:
        """End every broker, the one with the controller last."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: self.nodes[node].kill(), (2, 3)))
        self.nodes[1].kill()

    @property
    def bootstrap(self) -> str:
        """Where clients connect to: every broker, so that each may be down."""
        return ",".join(broker.bootstrap for broker in self.nodes.values())


class ReplicatedTopics(Topics):
    """Topics of a cluster; every partition has the same replicas, the preferred leader first."""

    def __init__(self, cluster: Cluster, replicas: Sequence[int]) -> None:
        super().__init__(cluster.bootstrap)
        self._replicas = list(replicas)

    def create(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Create a topic with these replicas; return its id once all of them are in sync."""
        assignment = [self._replicas] * partitions
        new = NewTopic(topic, num_partitions=partitions, replica_assignment=assignment, config=dict(config or {}))
        # A client of its own: one that has lost the broker which it asks for this doesn't look for another.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}, logger=quiet)
        admin.create_topics([new])[topic].result(LIMIT_S)
        for partition in range(partitions):
            self.wait_in_sync(topic, partition, set(self._replicas))
        return self.topic_id(topic)

    def leader(self, topic: str, partition: int) -> int | None:
        """The node that leads a partition, or None while there is none."""
        return self._partition(topic, partition)[0]

    def wait_led_by(self, topic: str, partition: int, node: int) -> None:
        """Return when a node leads the partition."""
        wait_for(f"{topic} {partition} led by {node}", lambda: True if self.leader(topic, partition) == node else None)

    def wait_led_by_another(self, topic: str, partition: int, node: int) -> int:
        """Return the partition's leader as soon as it is another than this node."""

        def another() -> int | None:
            leader = self.leader(topic, partition)
            return None if leader == node else leader

        return wait_for(f"{topic} {partition} led by another than {node}", another)

    def wait_in_sync(self, topic: str, partition: int, nodes: set[int]) -> None:
        """Return when exactly these nodes are in sync."""
        wait_for(
            f"{topic} {partition} in sync on {nodes}",
            lambda: True if self._partition(topic, partition)[1] == nodes else None,
        )

    def _partition(self, topic: str, partition: int) -> tuple[int | None, set[int]]:
        found = self._admin.list_topics(timeout=LIMIT_S).topics.get(topic)
        if found is None or partition not in found.partitions:
            return None, set()
        metadata = found.partitions[partition]
        return (metadata.leader if metadata.leader >= 0 else None), set(metadata.isrs)


@contextmanager
def paused(broker: Broker) -> Iterator[None]:
    """Let a broker stand still for the block: its connections stay open, and nothing answers."""
    assert broker.service is not None
    os.kill(broker.service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.service.pid, signal.SIGCONT)
