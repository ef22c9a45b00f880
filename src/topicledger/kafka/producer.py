"""Producing a batch so that every record's fate is known: acknowledged by the broker, or the batch fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from topicledger.crash_points import crash_point
from topicledger.cycle_search import seldom_collected
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError
from topicledger.kafka.client import producer_client
from topicledger.kafka.failures import ErrorMemory, translate
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.topic import TopicObserver

log = logging.getLogger(__name__)

_POLL_EVERY = 1_000
_PROGRESS_S = 5.0


class _Reports:
    """Counts delivery reports. A report without an error is an acknowledgement, whatever offset it carries."""

    def __init__(self) -> None:
        self.acked = 0
        self.failed = 0
        self.first_error: KafkaError | None = None
        self.first_message: Message | None = None

    def take(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acked += 1
            return
        self.failed += 1
        if self.first_error is None:
            self.first_error, self.first_message = error, message


class BatchProducer:
    """Produces one attempt's batch to one topic, idempotently, with acks from every replica in sync.

    Args:
        settings: The connection.
        topic: The topic; it must exist.
        headers: Headers of every record.
    """

    def __init__(self, settings: KafkaSettings, topic: str, headers: Sequence[tuple[str, bytes]]) -> None:
        self._settings = settings
        self._topic = topic
        self._headers = list(headers)
        self._memory = ErrorMemory()
        self._reports = _Reports()
        self._produced = 0

    def produce(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> int:
        """Produce every record and wait for every delivery report.

        Args:
            records: (key, value) of each.

        Returns:
            How many the broker acknowledged; it is how many there were.

        Raises:
            SettingsError: A record is larger than allowed, a grant is missing, or credentials are wrong.
            RetriableError: At least one record was not acknowledged. Some may be on the topic: a retry
                produces the same keys and values again, and the surplus is counted as duplicates of the table's key.
        """
        producer = producer_client(self._settings, self._memory, self._reports.take)
        said = time.monotonic()
        rest = iter(records)
        with seldom_collected():
            while self._enqueue(producer, islice(rest, _POLL_EVERY)):
                self._serve(producer, lambda: producer.poll(0))
                if self._reports.failed or self._memory.credentials is not None:
                    break
                if time.monotonic() - said > _PROGRESS_S:
                    said = time.monotonic()
                    log.info("produced %d, acknowledged %d", self._produced, self._reports.acked)
                crash_point("step-01.middle")
            self._flush(producer)
        if self._reports.acked != self._produced:
            raise self._failure()
        return self._produced

    def _enqueue(self, producer: Any, records: Iterable[tuple[bytes | None, bytes | None]]) -> bool:
        """Give the client each record as it comes; tell whether there was any."""
        produce, topic, headers = producer.produce, self._topic, self._headers
        before = self._produced
        for key, value in records:
            self._produced += 1
            while True:
                try:
                    # Keyword arguments, and a callback for each record, would take a fifth longer.
                    produce(topic, value, key, headers=headers)
                except BufferError:
                    # The queue is full: wait for reports, then offer the same record again.
                    self._serve(producer, lambda: producer.poll(0.1))
                except KafkaException as exception:
                    raise self._refused(exception, key, value) from exception
                else:
                    break
        return self._produced > before

    def _refused(self, exception: KafkaException, key: bytes | None, value: bytes | None) -> TopicLedgerError:
        error = exception.args[0]
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return self._too_large(key, value, str(error))
        return translate(error, f"producing to {self._topic}", self._settings, self._memory, topic=self._topic)

    def _serve(self, producer: Any, call: Callable[[], object]) -> None:
        """Let the client hand over its reports; in the middle of them it raises what has ended it for good."""
        try:
            call()
        except (KafkaException, SystemError) as exception:
            producer.purge()
            # Raised while a report is handed over, Python wraps it in a SystemError, or loses it.
            fatal = exception if isinstance(exception, KafkaException) else exception.__cause__
            raise self._failure(fatal.args[0] if isinstance(fatal, KafkaException) else None) from exception

    def _flush(self, producer: Any) -> None:
        """Wait until every record has its report: librdkafka gives one within `message.timeout.ms`, always."""
        said = time.monotonic()
        while len(producer):
            # flush() would go on handing over reports after the client's end, and lose what ended it.
            self._serve(producer, lambda: producer.poll(0.5))
            if self._memory.credentials is not None:
                producer.purge()
            if time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                log.info("waiting for delivery reports: %d of %d acknowledged", self._reports.acked, self._produced)

    def _failure(self, fatal: KafkaError | None = None) -> TopicLedgerError:
        reports, produced = self._reports, self._produced
        doing = f"producing to {self._topic}: {produced - reports.acked} of {produced} not acknowledged"
        error, message = fatal or reports.first_error, reports.first_message
        if error is None:
            return RetriableError(f"{doing}, without a delivery report", code="delivery-unreported", topic=self._topic)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and message is not None:
            return self._too_large(message.key(), message.value(), str(error))
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - librdkafka's local codes
            doing += self._too_few_replicas()
        return translate(error, doing, self._settings, self._memory, topic=self._topic)

    def _too_few_replicas(self) -> str:
        """What the broker refused the records for: the client tries again until time is up, and tells only that."""
        try:
            with TopicObserver(self._settings, self._topic) as observer:
                short = observer.too_few_in_sync()
        except TopicLedgerError:
            return ""
        return f" ({short})" if short else ""

    def _too_large(self, key: Any, value: Any, said: str) -> SettingsError:
        size = len(value or b"") + len(key or b"")
        limit = self._settings.extra.get("message.max.bytes", 1_000_000)
        topic_limit = "an unknown number"
        with suppress(TopicLedgerError), TopicObserver(self._settings, self._topic) as observer:
            topic_limit = observer.setting("max.message.bytes") or topic_limit
        return SettingsError(
            f"the record with key {key!r:.100} has {size} bytes; the client allows {limit} (message.max.bytes), the "
            f"topic {topic_limit} (max.message.bytes): {said}. Raise the smaller of the two, or send smaller records",
            code="record-too-large",
            topic=self._topic,
        )
