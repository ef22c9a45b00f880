"""Committing a group's offsets: always by hand, always waiting for the broker's answer."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory, translate, translated
from topicledger.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

_OTHERS_GROUP = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)
"""How a broker refuses the offsets of a group that has members, from one that isn't a member."""


def commit_offsets(consumer: Any, settings: KafkaSettings, group_id: str, topic: str, offsets: dict[int, int]) -> None:
    """Commit a group's offsets and wait for the broker's answer. Where others are members of it, only say so.

    Raises:
        SettingsError: The group may not be used.
        RetriableError: The broker didn't answer.
    """
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in sorted(offsets.items())]
    if not wanted:
        return
    with translated(f"committing offsets of {topic}", settings, topic=topic):
        for error in _refusals(consumer, wanted):
            if error.code() not in _OTHERS_GROUP:
                raise translate(error, f"committing offsets of {topic}", settings, topic=topic)
            # Nothing reads these offsets back: whoever joined the group can't hold up a run by it.
            log.warning(
                "the offsets of group %s could not be set; only lag tools miss them: another consumer is a member of "
                "that group: %s",
                group_id,
                error.str(),
            )
            return


def _refusals(consumer: Any, wanted: list[TopicPartition]) -> list[KafkaError]:
    try:
        committed = consumer.commit(offsets=wanted, asynchronous=False)
    except KafkaException as exception:
        refusal = _refusal(consumer, exception.args[0])
        if refusal is None:
            raise
        return [refusal]
    return [partition.error for partition in committed if partition.error is not None]


def _refusal(consumer: Any, error: Any) -> KafkaError | None:
    """What the group was refused for. Who may not use a group never learns its coordinator; the queue says why."""
    if not isinstance(error, KafkaError):
        return None
    if error.code() != KafkaError._WAIT_COORD:  # noqa: SLF001 - librdkafka's local code
        return error if error.code() in _OTHERS_GROUP else None
    said = (message.error() for message in consumer.consume(1_000, timeout=1.0))
    return next((why for why in said if why is not None and why.code() == KafkaError.GROUP_AUTHORIZATION_FAILED), None)


def commit_group(settings: KafkaSettings, group_id: str, topic: str, offsets: dict[int, int]) -> None:
    """Step 20: set a group's committed offsets from outside of it, for tools that show lag."""
    consumer = consumer_client(settings, group_id, ErrorMemory())
    try:
        commit_offsets(consumer, settings, group_id, topic, offsets)
    finally:
        consumer.close()
