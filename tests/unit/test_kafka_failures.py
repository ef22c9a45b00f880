"""librdkafka's errors to ours: what a person must fix stops, what may pass is tried again."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.kafka.failures import ErrorMemory, translate
from topicledger.kafka.settings import KafkaSettings

SETTINGS = KafkaSettings("kafka_default", {"bootstrap.servers": "broker:9092", "sasl.password": "hunter2"})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KafkaError(KafkaError._AUTHENTICATION, "handshake failed: Broker: SASL Authentication failed"), "refused"),
        (KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, "Invalid username or password"), "refused"),
        (KafkaError(KafkaError._SSL, "certificate verify failed"), "refused"),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "Next: grant"),
        (KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), "Next: grant"),
        (KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "Next: grant"),
        (KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "topic sales does not exist at broker:9092"),
        (KafkaError(KafkaError._INVALID_ARG), "correct the key"),
    ],
    ids=lambda value: str(value.code()) if isinstance(value, KafkaError) else "",
)
def test_what_a_person_fixes_stops(error: KafkaError, says: str) -> None:
    """Wrong credentials, a missing grant or topic and a wrong key are SettingsErrors which name the next step."""
    translated = translate(error, "reading sales", SETTINGS, topic="sales")
    assert isinstance(translated, SettingsError)
    assert says in str(translated)
    assert "hunter2" not in str(translated)


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS])
def test_what_may_pass_is_tried_again(code: int) -> None:
    """A broker that doesn't answer, or not now, is a RetriableError with its address."""
    translated = translate(KafkaError(code), "reading sales", SETTINGS, topic="sales")
    assert isinstance(translated, RetriableError)
    assert "broker:9092" in str(translated)


def test_a_time_out_is_explained_by_the_credentials() -> None:
    """A call that timed out while the client learned that its credentials are wrong stops for a person."""
    memory = ErrorMemory()
    memory(KafkaError(KafkaError._AUTHENTICATION, "Broker: SASL Authentication failed"))
    memory(KafkaError(KafkaError._TRANSPORT))
    assert isinstance(translate(KafkaError(KafkaError._TIMED_OUT), "reading sales", SETTINGS, memory), SettingsError)


def test_a_broken_checksum_stops() -> None:
    """A batch that fails its checksum is looked at by a person: reading it again gives the same bytes."""
    translated = translate(KafkaError(KafkaError._BAD_MSG), "reading sales", SETTINGS, topic="sales")
    assert isinstance(translated, IntegrityError)
    assert "checksum" in str(translated)
