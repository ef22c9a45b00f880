"""librdkafka's errors to ours: what a person must fix, and what may pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

_CREDENTIALS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})  # noqa: SLF001 - librdkafka's local codes
_SETTINGS = {
    KafkaError._INVALID_ARG: "correct the key in the connection's Extra",  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant READ, WRITE and DESCRIBE on the topic to this user",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant READ on the consumer groups with the pipeline's name as prefix",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant IDEMPOTENT_WRITE and DESCRIBE on the cluster to this user",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "use a SASL mechanism that the broker offers",
    KafkaError._UNSUPPORTED_FEATURE: "use a broker and client that support it",  # noqa: SLF001
}
_MISSING_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001


class ErrorMemory:
    """Remembers a client's asynchronous errors: a wrong password shows there, while calls just time out."""

    def __init__(self) -> None:
        self.credentials: KafkaError | None = None
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take an error from a client's `error_cb`."""
        self.last = error
        if error.code() in _CREDENTIALS:
            self.credentials = error
        log.debug("kafka client: %s", error)


def translate(
    error: KafkaError, doing: str, settings: KafkaSettings, memory: ErrorMemory | None = None, **where: Any
) -> TopicLedgerError:
    """Translate one error; what the client said asynchronously about credentials explains a time-out.

    Args:
        error: The error.
        doing: What was being done, for the message.
        settings: The connection it was done with.
        memory: The client's asynchronous errors.
        where: topic, partition, offset, where they apply.

    Returns:
        The error to raise.
    """
    code, said = error.code(), error.str()
    at = f"{doing} at {settings.servers} (connection {settings.conn_id})"
    if memory is not None and memory.credentials is not None:
        code, said = memory.credentials.code(), memory.credentials.str()
    if code in _CREDENTIALS:
        return SettingsError(
            f"{at}: the broker refused the credentials or its certificate could not be verified: {said}. "
            "Correct the security keys in the connection's Extra",
            **where,
        )
    if code in _MISSING_TOPIC:
        return SettingsError(missing_topic(str(where.get("topic")), settings), **where)
    if code in _SETTINGS:
        return SettingsError(f"{at}: {said}. Next: {_SETTINGS[code]}", **where)
    if code == KafkaError._BAD_MSG:  # noqa: SLF001
        return IntegrityError(f"{at}: a batch fails its checksum: {said}. Look at the broker's disks", **where)
    last = f" (last from the client: {memory.last.str()})" if memory is not None and memory.last is not None else ""
    return RetriableError(f"{at}: {said}{last}. It may pass: the task's next try starts over", **where)


def missing_topic(topic: str, settings: KafkaSettings) -> str:
    """The message for a topic that isn't there, with the command that creates it."""
    return (
        f"topic {topic} does not exist at {settings.servers}: create it, for example with kafka-topics.sh "
        f"--bootstrap-server {settings.servers} --create --topic {topic} --partitions 6"
    )


@contextmanager
def translated(doing: str, settings: KafkaSettings, memory: ErrorMemory | None = None, **where: Any) -> Iterator[None]:
    """Let no exception of the client library leave the block.

    Raises:
        SettingsError: A person must change the connection or a grant.
        RetriableError: It may pass.
    """
    try:
        yield
    except KafkaException as exception:
        error = exception.args[0]
        if not isinstance(error, KafkaError):
            raise RetriableError(f"{doing} at {settings.servers}: {error}", **where) from exception
        raise translate(error, doing, settings, memory, **where) from exception
    except (TypeError, ValueError) as exception:
        # The client's constructors refuse a key's value that way.
        raise SettingsError(
            f"{doing}: connection {settings.conn_id}: {exception}. Correct its Extra", **where
        ) from exception
