"""A log that lost its end and grew again: only the leader epoch tells, and only librdkafka's text says where."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import cast

from confluent_kafka import KafkaError, TopicPartition

from topicledger.errors import RetriableError
from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory, translate
from topicledger.kafka.message import ConsumedMessage
from topicledger.kafka.settings import KafkaSettings
from topicledger.model.plan import Position

_TRUNCATION = KafkaError(KafkaError._LOG_TRUNCATION).str()  # noqa: SLF001 - librdkafka's local codes
_END = re.compile(r"end offset is (\d+)")
_WAIT_S = 0.5


def is_truncation(error: KafkaError) -> bool:
    """Whether an error says that the log was cut: with auto.offset.reset=error only its text does."""
    return error.code() == KafkaError._LOG_TRUNCATION or _TRUNCATION in error.str()  # noqa: SLF001


def truncation_end(error: KafkaError) -> int | None:
    """Where the log ended when it was cut, or None when the error doesn't tell."""
    found = _END.search(error.str())
    return int(found[1]) if found else None


def find_truncation(settings: KafkaSettings, group_id: str, position: Position, limit_s: float) -> int | None:
    """Ask whether the log was cut below a position, whose leader epoch must be known.

    Returns:
        Where the log ended when it was cut, or None when it was not.

    Raises:
        RetriableError: The broker didn't answer in time.
        SettingsError: A grant is missing or the credentials are wrong.
    """
    memory = ErrorMemory()
    partition = TopicPartition(
        position.topic, position.partition, position.position, leader_epoch=position.leader_epoch or 0
    )
    deadline = time.monotonic() + limit_s
    with closing(consumer_client(settings, group_id, memory)) as consumer:
        consumer.assign([partition])
        while time.monotonic() < deadline:
            message = cast("ConsumedMessage | None", consumer.poll(_WAIT_S))
            if message is None:
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return None
            if is_truncation(error):
                return truncation_end(error)
            raise translate(error, f"reading {position.topic}", settings, memory, topic=position.topic)
    raise RetriableError(
        f"partition {position.partition} of {position.topic}: nothing came for {limit_s:.0f} s while its end was "
        "checked; see that it has a leader",
        code="truncation-unconfirmed",
        topic=position.topic,
        partition=position.partition,
        offset=position.position,
    )
