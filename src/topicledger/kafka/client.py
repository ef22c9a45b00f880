"""Clients of one connection: made in the process that uses them, their errors remembered, never at import."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from topicledger.kafka.failures import ErrorMemory, translated
from topicledger.kafka.settings import KafkaSettings


class _Once(logging.Filter):
    """Let a line through once: while a broker is down librdkafka says the same many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        said = re.sub(r"\d+", "", record.getMessage())
        if said in self._said or len(self._said) > 100:
            return False
        self._said.add(said)
        return True


client_log = logging.getLogger("topicledger.kafka.librdkafka")
client_log.addFilter(_Once())


def admin_client(settings: KafkaSettings, memory: ErrorMemory) -> AdminClient:
    """Make an admin client; nothing is sent yet.

    Raises:
        SettingsError: librdkafka refuses a key.
    """
    with translated("configuring an admin client", settings):
        return AdminClient(_watched(settings.admin(), memory), logger=client_log)


def consumer_client(settings: KafkaSettings, group_id: str, memory: ErrorMemory, **overrides: Any) -> Consumer:
    """Make a consumer that never subscribes and never commits by itself; nothing is sent yet.

    Raises:
        SettingsError: librdkafka refuses a key.
    """
    with translated("configuring a consumer", settings):
        config = {**settings.consumer(group_id), **overrides}
        return Consumer(_watched(config, memory), logger=client_log)


def producer_client(
    settings: KafkaSettings, memory: ErrorMemory, report: Callable[[KafkaError | None, Message], None]
) -> Producer:
    """Make an idempotent producer; nothing is sent yet.

    Args:
        settings: The connection.
        memory: Keeps the client's errors.
        report: Gets every record's delivery report.

    Raises:
        SettingsError: librdkafka refuses a key.
    """
    with translated("configuring a producer", settings):
        return Producer(_watched({**settings.producer(), "on_delivery": report}, memory), logger=client_log)


def _watched(config: dict[str, Any], memory: ErrorMemory) -> dict[str, Any]:
    own: Callable[[Any], None] | None = config.get("error_cb")

    def on_error(error: Any) -> None:
        memory(error)
        if own is not None:
            own(error)

    return {**config, "error_cb": on_error}
