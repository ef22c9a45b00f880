"""What the engine needs of a consumed message, typed; and the headers that a produced record carries."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError

BATCH_HEADER = "topicledger-batch"
ATTEMPT_HEADER = "topicledger-attempt"


class ConsumedMessage(Protocol):
    """A record or an event of confluent_kafka's consumer, as it behaves once it came from a partition."""

    def error(self) -> KafkaError | None:
        """The event's code, or None for a record."""

    def partition(self) -> int:
        """Its partition."""

    def offset(self) -> int:
        """Its offset; for an end-of-partition event the position there."""

    def leader_epoch(self) -> int | None:
        """Leader epoch of its batch, or None with old brokers."""

    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since 1970); kind 0: it has none."""

    def key(self) -> bytes | None:
        """Its key."""

    def value(self) -> bytes | None:
        """Its value; None for a tombstone."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Its headers, or None."""

    def __len__(self) -> int:
        """Size of its value in bytes."""
