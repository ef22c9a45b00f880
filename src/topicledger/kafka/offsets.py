"""Committing a group's offsets: always by hand, always waiting for the broker's answer."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TopicPartition

from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory, translate, translated
from topicledger.kafka.settings import KafkaSettings


def commit_offsets(consumer: Any, settings: KafkaSettings, topic: str, offsets: dict[int, int]) -> None:
    """Commit a group's offsets and wait for the broker's answer.

    Raises:
        SettingsError: The group may not be used.
        RetriableError: The broker didn't answer.
    """
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in sorted(offsets.items())]
    if not wanted:
        return
    with translated(f"committing offsets of {topic}", settings, topic=topic):
        for committed in consumer.commit(offsets=wanted, asynchronous=False):
            if committed.error is not None:
                raise translate(committed.error, f"committing offsets of {topic}", settings, topic=topic)


def commit_group(settings: KafkaSettings, group_id: str, topic: str, offsets: dict[int, int]) -> None:
    """Step 20: set a group's committed offsets from outside of it, for tools that show lag."""
    consumer = consumer_client(settings, group_id, ErrorMemory())
    try:
        commit_offsets(consumer, settings, topic, offsets)
    finally:
        consumer.close()
