"""librdkafka's errors to ours: what a person must fix stops, what may pass is tried again."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.kafka.failures import ErrorMemory, translate
from topicledger.kafka.settings import KafkaSettings

NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token: "
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


@pytest.mark.parametrize(
    ("code", "said", "step"),
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error: invalid credentials", "sasl.password"),
        (KafkaError._SSL, "SSL handshake failed: certificate verify failed", "ssl.ca.pem"),
        (
            KafkaError._TRANSPORT,
            "Receive failed: tls alert certificate unknown: SSL alert number 46",
            "ssl.certificate",
        ),
        (KafkaError._TRANSPORT, "Receive failed: alert certificate required: SSL alert number 116", "ssl.certificate"),
        (KafkaError._AUTHENTICATION, f'{NO_TOKEN}{{"error": "invalid_client"}}', "sasl.oauthbearer"),
        (KafkaError._AUTHENTICATION, f"{NO_TOKEN}SSL certificate OpenSSL verify result: unable", "https.ca.pem"),
    ],
)
def test_a_refusal_names_the_keys_to_look_at(code: int, said: str, step: str) -> None:
    """What one side refused of the other stops, with the keys that say so, however the client came to know it."""
    memory = ErrorMemory()
    memory(KafkaError(code, said))
    memory(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    translated = translate(KafkaError(KafkaError._TIMED_OUT), "reading sales", SETTINGS, memory)
    assert isinstance(translated, SettingsError)
    assert step in str(translated).partition("Next: ")[2]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError._AUTHENTICATION, "SASL PLAIN mechanism handshake failed: Local: Broker transport failure"),
        (KafkaError._AUTHENTICATION, "mechanism handshake failed: Broker: Request not valid in current SASL state"),
        (KafkaError._AUTHENTICATION, f"{NO_TOKEN}Failed to connect to idp port 443: Could not connect to server"),
        (KafkaError._AUTHENTICATION, f'{NO_TOKEN}{{"error": "temporarily_unavailable"}}'),
        (KafkaError._TRANSPORT, "Receive failed: SSL alert number 80"),
        (KafkaError._TRANSPORT, "Connect to broker:9092 failed: Connection refused"),
    ],
)
def test_who_went_away_refused_nothing(code: int, said: str) -> None:
    """A connection that broke, or a token endpoint that doesn't answer, is tried again, and said."""
    memory = ErrorMemory()
    memory(KafkaError(code, said))
    memory(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    translated = translate(KafkaError(KafkaError._TIMED_OUT), "reading sales", SETTINGS, memory)
    assert isinstance(translated, RetriableError)
    assert said in str(translated)


def test_brokers_that_say_nothing_may_speak_another_protocol() -> None:
    """Brokers that only close connections are the one sign of a wrong security.protocol."""
    memory = ErrorMemory()
    memory(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    translated = translate(KafkaError(KafkaError._TIMED_OUT), "reading sales", SETTINGS, memory)
    assert isinstance(translated, RetriableError)
    assert "does security.protocol fit the listener?" in str(translated)
