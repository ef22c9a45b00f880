"""What the broker says of a topic: its id, its partitions and their watermarks, whether it is compacted."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any, Self

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec  # type: ignore[attr-defined] # re-exported there

from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.client import admin_client
from topicledger.kafka.failures import MISSING_TOPIC, UNANSWERED, ErrorMemory, translate, translated
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.truncation import find_truncation
from topicledger.model.plan import Position
from topicledger.model.planning import TopicState, Watermarks
from topicledger.opened_here import OpenedHere

log = logging.getLogger(__name__)

_REQUEST_S = 5.0
_NEW_TOPIC_S = 3.0
"""A broker learns of a topic a moment after its creation was confirmed: for so long it isn't believed to be missing."""
_LOOK_AGAIN_S = 0.2
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class TopicObserver:
    """Asks the broker about one topic. A context manager: it serves its own callbacks and ends with the block.

    Args:
        settings: The connection.
        topic: The topic.
        request_s: Time limit of one request.
    """

    def __init__(self, settings: KafkaSettings, topic: str, request_s: float = _REQUEST_S) -> None:
        self._settings = settings
        self._topic = topic
        self._request_s = request_s
        self._memory = ErrorMemory()
        self._renew()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admin.poll(0)

    @property
    def _admin(self) -> AdminClient:
        return self._opened.get()

    def topic_id(self) -> str:
        """Kafka's id of the topic, and the proof that the broker answers.

        Raises:
            SettingsError: The topic doesn't exist, or may not be described; or the credentials are wrong.
            RetriableError: The broker doesn't answer.
        """
        return written_id(self._describe().topic_id)

    def state(self) -> TopicState:
        """The topic's id and every partition's watermarks.

        Raises:
            SettingsError: As `topic_id`.
            RetriableError: The broker doesn't answer, or a partition has no leader.
        """
        described = self._describe()
        partitions = sorted(partition.id for partition in described.partitions)
        low = self._offsets(partitions, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)
        # The last stable offset first: it only grows, so that a later high watermark is never below it.
        stable = self._offsets(partitions, _LATEST, IsolationLevel.READ_COMMITTED)
        high = self._offsets(partitions, _LATEST, IsolationLevel.READ_UNCOMMITTED)
        return TopicState(
            self._topic,
            written_id(described.topic_id),
            tuple(
                Watermarks(p, low[p].offset, stable[p].offset, high[p].offset, _epoch(high[p].leader_epoch))
                for p in partitions
            ),
        )

    def truncated_at(self, position: Position, group_id: str) -> int | None:
        """Where the log was cut below a position that has a leader epoch, though it has grown past it again, or None.

        Raises:
            RetriableError: The broker doesn't answer.
        """
        return find_truncation(self._settings, group_id, position, self._request_s)

    def compacted(self) -> bool | None:
        """Whether the topic is compacted; None when the broker doesn't let this user know."""
        policy = self.setting("cleanup.policy")
        return None if policy is None else "compact" in policy

    def setting(self, name: str) -> str | None:
        """One of the topic's settings as the broker has it; None when the broker doesn't let this user know.

        Raises:
            SettingsError: The credentials are wrong.
            RetriableError: The broker doesn't answer.
        """
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._topic)
        try:
            future = self._admin.describe_configs([resource], request_timeout=self._request_s)[resource]
            return str(self._result(future)[name].value)
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() in UNANSWERED:
                doing = f"asking for {name} of topic {self._topic}"
                raise translate(error, doing, self._settings, self._memory, topic=self._topic) from exception
            log.info("%s of %s is not known: %s", name, self._topic, error)
            return None

    def too_few_in_sync(self) -> str | None:
        """Which partitions have fewer replicas in sync than the topic needs for a record; None when none has.

        Raises:
            SettingsError: As `topic_id`.
            RetriableError: The broker doesn't answer.
        """
        needed = int(self.setting("min.insync.replicas") or 1)
        short = [p for p in self._describe().partitions if len(p.isr) < needed]
        said = [f"partition {p.id} has {len(p.isr)} of {needed} replicas in sync that it needs" for p in short]
        return ", ".join(said) or None

    def _describe(self) -> Any:
        deadline = time.monotonic() + _NEW_TOPIC_S
        with translated(f"describing topic {self._topic}", self._settings, self._memory, topic=self._topic):
            while True:
                try:
                    return self._described()
                except KafkaException as exception:
                    if exception.args[0].code() not in MISSING_TOPIC or time.monotonic() >= deadline:
                        raise
                time.sleep(_LOOK_AGAIN_S)

    def _described(self) -> Any:
        collection = TopicCollection([self._topic])
        return self._result(self._admin.describe_topics(collection, request_timeout=self._request_s)[self._topic])

    def _offsets(self, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel) -> dict[int, Any]:
        with translated(f"reading offsets of {self._topic}", self._settings, self._memory, topic=self._topic):
            wanted = {TopicPartition(self._topic, p): spec for p in partitions}
            futures = self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=self._request_s)
            try:
                found = {tp.partition: self._result(future) for tp, future in futures.items()}
            except KafkaException as exception:
                if exception.args[0].code() not in MISSING_TOPIC:
                    raise
                # It was described before: whether it is new to this leader or was deleted, describing tells next time.
                raise RetriableError(
                    f"topic {self._topic} has partitions that their leader doesn't know yet, or it was deleted just "
                    "now",
                    code="partitions-not-ready",
                    topic=self._topic,
                ) from exception
        missing = [p for p, result in found.items() if result.offset < 0]
        if missing:
            said = f"the broker gives no offset for {self._topic} {missing}: look at the partition's state"
            raise IntegrityError(said, code="partition-without-offset", repeat="step", topic=self._topic)
        return found

    def _result(self, future: Any) -> Any:
        """Wait for one answer, but no longer than the client takes to learn that its credentials are wrong."""
        deadline = time.monotonic() + self._request_s + 1
        while True:
            try:
                return future.result(timeout=0.1)
            except TimeoutError as error:
                self._admin.poll(0)  # serves error_cb and oauth_cb
                if self._memory.credentials is not None or time.monotonic() > deadline:
                    self._renew()
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001
            except KafkaException:
                self._admin.poll(0)
                self._renew()
                raise

    def _renew(self) -> None:
        """Take a new client: one that has lost the broker which it asks for a topic's id looks for no other."""
        client = admin_client(self._settings, self._memory)
        self._opened = OpenedHere(f"the client that asks for {self._topic}", client)


def written_id(topic_id: Uuid) -> str:
    """A topic's id as Kafka's own tools write it: librdkafka has '+' and '/' where they have '-' and '_'."""
    return str(topic_id).replace("+", "-").replace("/", "_")


def _epoch(leader_epoch: int | None) -> int | None:
    return leader_epoch if leader_epoch is not None and leader_epoch >= 0 else None
