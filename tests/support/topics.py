"""Topics as a broker's administrator handles them: made, grown, emptied, deleted, made again."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # re-exported there
from confluent_kafka.cimpl import NewPartitions, NewTopic

LIMIT_S = 60.0
"""How long a broker may take for anything; long enough that reaching it means that something hangs."""

quiet = logging.getLogger("tests.librdkafka")
quiet.addHandler(logging.NullHandler())
quiet.propagate = False

_Found = TypeVar("_Found")
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


def wait_for(what: str, look: Callable[[], _Found | None], limit_s: float = LIMIT_S) -> _Found:
    """Look until there is something, and fail when that takes longer than anything should."""
    deadline = time.monotonic() + limit_s
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.05)
    return found


def unique_topic(prefix: str = "case") -> str:
    """A topic's name that no other test has."""
    return f"{prefix}.{uuid.uuid4().hex[:12]}"


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=quiet)

    def create(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Create a topic; return its id once every partition has a leader."""
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        self._admin.create_topics([new])[topic].result(LIMIT_S)
        return wait_for(f"creating {topic}", lambda: self._ready(topic, partitions))

    def delete(self, topic: str) -> None:
        """Delete a topic; return when the broker no longer knows it."""
        self._admin.delete_topics([topic])[topic].result(LIMIT_S)
        wait_for(f"deleting {topic}", lambda: True if self._describe(topic) is None else None)

    def recreate(self, topic: str, partitions: int = 1) -> str:
        """Delete a topic and create it again; return its new id."""
        self.delete(topic)
        return self.create(topic, partitions)

    def add_partitions(self, topic: str, total: int) -> None:
        """Give a topic more partitions; return when each has a leader."""
        self._admin.create_partitions([NewPartitions(topic, total)])[topic].result(LIMIT_S)
        wait_for(f"adding partitions to {topic}", lambda: self._ready(topic, total))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete all records of a partition before an offset, as retention does."""
        wanted = TopicPartition(topic, partition, before)
        for future in self._admin.delete_records([wanted]).values():
            future.result(LIMIT_S)

    def topic_id(self, topic: str) -> str:
        """Kafka's id of a topic."""
        described = self._describe(topic)
        assert described is not None
        return _written(described.topic_id)

    def ends(self, topic: str) -> dict[int, int]:
        """The high watermark of every partition, as soon as each has a leader that knows that it is one."""
        return wait_for(f"the ends of {topic}", lambda: self._ends(topic))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offsets that a consumer group has committed."""
        # Not by the admin client, which crashes where the broker hasn't made its offsets topic yet.
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0}, logger=quiet)
        wanted = [TopicPartition(topic, p) for p in self.ends(topic)]
        try:
            found = wait_for(f"the offsets of {group}", lambda: _committed(consumer, wanted))
        finally:
            consumer.close()
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def _ends(self, topic: str) -> dict[int, int] | None:
        described = self._describe(topic)
        wanted = {TopicPartition(topic, p.id): _LATEST for p in described.partitions} if described else {}
        try:
            found = self._admin.list_offsets(wanted) if wanted else {}
            return {tp.partition: future.result(LIMIT_S).offset for tp, future in found.items()} or None
        except KafkaException:
            return None

    def _describe(self, topic: str) -> Any:
        try:
            return self._admin.describe_topics(TopicCollection([topic]))[topic].result(LIMIT_S)
        except KafkaException:
            return None

    def _ready(self, topic: str, partitions: int) -> str | None:
        found = self._describe(topic)
        if found is None or len(found.partitions) != partitions:
            return None
        return _written(found.topic_id) if all(p.leader is not None for p in found.partitions) else None


def _committed(consumer: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition] | None:
    """The group's offsets, as soon as it has a coordinator that knows them."""
    try:
        return consumer.committed(wanted, LIMIT_S)
    except KafkaException:
        return None


def _written(topic_id: object) -> str:
    """An id in the alphabet of Kafka's own tools."""
    return str(topic_id).translate(str.maketrans("+/", "-_"))
