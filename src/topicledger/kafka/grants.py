"""What a user may not do on the broker that a run does: asked of the broker, so that nothing is tried."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined] # re-exported there

from topicledger.kafka.client import admin_client
from topicledger.kafka.failures import ErrorMemory, translated
from topicledger.kafka.settings import KafkaSettings

_REQUEST_S = 5.0
_ANY_BATCH = "0" * 16


def missing_grants(settings: KafkaSettings, topic: str, pipeline: str, *, write: bool) -> list[str]:
    """Name each operation that a run needs and this user may not do, with the next step. Changes nothing.

    Args:
        settings: The connection.
        topic: The topic, which exists and may be described.
        pipeline: The pipeline's name, which the groups begin with whose offsets its runs commit.
        write: Whether a run produces, too.

    Raises:
        RetriableError: The broker doesn't answer, or doesn't know yet who coordinates the groups.
        SettingsError: It refuses the request itself.
    """
    memory = ErrorMemory()
    client = admin_client(settings, memory)
    with translated(f"asking for the grants on topic {topic}", settings, memory, topic=topic):
        asked = client.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=_REQUEST_S
        )
        allowed = _answer(client, asked[topic]).authorized_operations
    wanted = [AclOperation.READ, AclOperation.WRITE] if write else [AclOperation.READ]
    lacking = [o.name for o in wanted if allowed is not None and o not in allowed]
    said = [f"this user may not {name} topic {topic}: grant {name} on it" for name in lacking]
    with translated("asking for the grants on the runs' consumer groups", settings, memory):
        allowed = _allowed_on_group(client, f"{pipeline}.{_ANY_BATCH}")
    if allowed is not None and AclOperation.READ not in allowed:
        said.append(f"this user may not READ the runs' consumer groups: grant READ on groups prefixed {pipeline}")
    return said


def _allowed_on_group(client: AdminClient, group: str) -> Any:
    """The operations that are allowed, none where not even looking is; None from a broker that doesn't tell."""
    asked = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=_REQUEST_S)
    try:
        return _answer(client, asked[group]).authorized_operations
    except KafkaException as exception:
        if exception.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise
        return ()


def _answer(client: AdminClient, future: Any) -> Any:
    try:
        return future.result(_REQUEST_S + 1)
    finally:
        client.poll(0)  # serves error_cb
