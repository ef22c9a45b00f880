"""Fetching messages so that what is held of them is bounded: by the bytes of keys, values and headers together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from confluent_kafka import Consumer

from topicledger.kafka.client import consumer_client
from topicledger.kafka.failures import ErrorMemory
from topicledger.kafka.headers import NameNotTextError, bytes_beside_values, keep_names
from topicledger.kafka.message import ConsumedMessage
from topicledger.kafka.settings import QUEUED_BYTES, QUEUED_RECORDS, KafkaSettings
from topicledger.opened_here import OpenedHere

log = logging.getLogger(__name__)

FETCH_BYTES = 8 << 20
_FETCH_RECORDS = 256


class ReadAgainError(Exception):
    """What wasn't handed on yet must be fetched again: there is a new consumer, with nothing assigned."""


class Fetcher:
    """A consumer, and how much may be taken from it at once.

    librdkafka bounds its queue by the bytes of values alone. Where keys and headers outweigh them, it is given a
    smaller number of messages to queue; where a header's name isn't text, headers are read from then on by another
    way. Both take a new consumer, and what was fetched but not handed on is fetched again.

    Args:
        settings: The connection.
        topic: The topic.
        group_id: The run's own consumer group.
        memory: Keeps the client's errors.
    """

    def __init__(self, settings: KafkaSettings, topic: str, group_id: str, memory: ErrorMemory) -> None:
        self._settings = settings
        self._topic = topic
        self._group_id = group_id
        self._memory = memory
        self._opened = self._open()
        self._queued = int(settings.extra.get("queued.min.messages", QUEUED_RECORDS))
        self._names_kept = False
        self._records = 16
        self._rest: Sequence[ConsumedMessage] = []

    @property
    def consumer(self) -> Consumer:
        """The consumer; another one after `ReadAgainError`."""
        return self._opened.get()

    def close(self) -> None:
        """Close the consumer."""
        self.consumer.close()

    def fetch(self, wait_s: float) -> tuple[Sequence[ConsumedMessage], int]:
        """Take messages that are there now; where there is none, wait for one.

        Returns:
            Messages and events, and how many bytes they have: `FETCH_BYTES` at most, or it is a single one.

        Raises:
            ReadAgainError: What was fetched but not handed on is gone; assign again.
        """
        fetched = self._rest or self._consumed(wait_s)
        batch, size_bytes = fetched, self._size_bytes(fetched)
        while size_bytes > FETCH_BYTES and len(batch) > 1:
            batch = batch[: len(batch) // 2]
            size_bytes = self._size_bytes(batch)
        self._rest = fetched[len(batch) :]
        if batch:
            # Few large records, many small ones: what one call may bring stays bounded in bytes.
            affordable = (FETCH_BYTES * len(batch)) // (size_bytes + 1)
            self._records = max(1, min(_FETCH_RECORDS, 2 * self._records, affordable))
        return batch, size_bytes

    def _consumed(self, wait_s: float) -> Sequence[ConsumedMessage]:
        batch = cast("list[ConsumedMessage]", self.consumer.consume(self._records, 0))
        if not batch and wait_s:
            message = cast("ConsumedMessage | None", self.consumer.poll(wait_s))
            batch = [] if message is None else [message]
        if self._names_kept:
            keep_names(batch)
        return batch

    def _size_bytes(self, batch: Sequence[ConsumedMessage]) -> int:
        try:
            beside = bytes_beside_values(batch)
        except NameNotTextError:
            self._names_kept = True
            self._open_anew(f"a header's name on {self._topic} isn't UTF-8")
            raise ReadAgainError from None
        if beside * self._queued > QUEUED_BYTES * len(batch):
            # Half of what fits: the sizes of the next ones may vary without yet another consumer.
            self._queued = QUEUED_BYTES * len(batch) // beside // 2
            self._open_anew(f"keys and headers on {self._topic} take {beside // len(batch)} bytes a record")
            raise ReadAgainError
        return sum(map(len, batch)) + beside

    def _open_anew(self, why: str) -> None:
        log.info("%s: reading on with another consumer", why)
        self._rest = []
        self.consumer.close()
        self._opened = self._open({"queued.min.messages": max(1, self._queued)})

    def _open(self, overrides: Mapping[str, Any] | None = None) -> OpenedHere[Consumer]:
        consumer = consumer_client(self._settings, self._group_id, self._memory, **(overrides or {}))
        return OpenedHere(f"the reader of {self._topic}", consumer)
