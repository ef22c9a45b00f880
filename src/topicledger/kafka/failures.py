"""librdkafka's errors to ours: what a person must fix, and what may pass."""

from __future__ import annotations

import logging
import re
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
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant WRITE on the topic to this user",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "use a SASL mechanism that the broker offers",
    KafkaError._UNSUPPORTED_FEATURE: "use a broker and client that support it",  # noqa: SLF001
}
MISSING_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001
UNANSWERED = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
    }
)
"""That no broker answered: of what was asked it says nothing."""


# What librdkafka says in words alone; tests/faults/ holds these texts to the installed one.
_TLS_ALERT = re.compile(r"SSL alert number (40|4[2-9]|70|71|112|116)\b")
_MAY_PASS = re.compile("Local: |Request not valid in current SASL state")
_NO_ACCESS = "Failed to acquire SASL OAUTHBEARER token: "
_TOKEN_REFUSED = re.compile(r'"error"\s*:\s*"(?!server_error|temporarily_unavailable)|certificate')


class ErrorMemory:
    """Remembers a client's asynchronous errors: a wrong password shows there, while calls just time out."""

    def __init__(self) -> None:
        self.credentials: KafkaError | None = None
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take an error from a client's `error_cb`."""
        if self.last is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - what came before says why
            self.last = error
        if refuses_credentials(error):
            self.credentials = error
        log.debug("kafka client: %s", error)


def refuses_credentials(error: KafkaError) -> bool:
    """Whether one side refused the other's password, token or certificate, rather than went away meanwhile."""
    said = error.str()
    if said.startswith(_NO_ACCESS):
        return _TOKEN_REFUSED.search(said) is not None
    if error.code() in _CREDENTIALS:
        return _MAY_PASS.search(said) is None
    return error.code() == KafkaError._TRANSPORT and _TLS_ALERT.search(said) is not None  # noqa: SLF001


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
    at = f"{doing} at {settings.servers} (connection {settings.conn_id})"
    if memory is not None and memory.credentials is not None:
        error = memory.credentials
    code, said = error.code(), error.str()
    if refuses_credentials(error):
        return SettingsError(
            f"{at}: credentials or certificates were refused: {said}. Next: {_credentials_step(error)}",
            code="kafka-credentials-refused",
            **where,
        )
    if code in MISSING_TOPIC:
        return SettingsError(missing_topic(str(where.get("topic")), settings), code="topic-missing", **where)
    if code in _SETTINGS:
        return SettingsError(f"{at}: {said}. Next: {_SETTINGS[code]}", code="kafka-refused", **where)
    if code == KafkaError._BAD_MSG:  # noqa: SLF001
        text = f"{at}: a batch fails its checksum: {said}. Look at the broker's disks"
        return IntegrityError(text, code="kafka-batch-damaged", repeat="step", **where)
    return RetriableError(
        f"{at}: {said}{_last_word(code, memory)}. It may pass: see that the brokers run and can be reached",
        code="kafka-unavailable",
        **where,
    )


def _credentials_step(error: KafkaError) -> str:
    """The next step after a refusal: which keys of the connection's Extra to look at."""
    if error.str().startswith(_NO_ACCESS):
        return (
            "correct the sasl.oauthbearer keys in the connection's Extra, and https.ca.pem for the endpoint's authority"
        )
    if error.code() == KafkaError._SSL:  # noqa: SLF001
        return (
            "the broker's certificate has run out, is for another host than bootstrap.servers names, or its "
            "authority is not that of ssl.ca.location or ssl.ca.pem"
        )
    if error.code() == KafkaError._TRANSPORT:  # noqa: SLF001
        return (
            "give this client a certificate that the broker knows and that has not run out: ssl.certificate and ssl.key"
        )
    return "correct sasl.username, sasl.password or sasl.mechanism in the connection's Extra"


def _last_word(code: int, memory: ErrorMemory | None) -> str:
    if memory is not None and memory.last is not None:
        return f" (last from the client: {_last(memory.last)})"
    if code == KafkaError._TIMED_OUT:  # noqa: SLF001
        return " (no word from there: a wrong address, or something on the way drops what is sent)"
    return ""


def _last(error: KafkaError) -> str:
    said = error.str()
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
        return f"{said}, each closed the connection without a word: does security.protocol fit the listener?"
    # How a handshake with a listener that speaks no TLS ends is a matter of who notices first.
    return f"{said}: does security.protocol fit the listener?" if "in state SSL_HANDSHAKE" in said else said


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
            raise RetriableError(
                f"{doing} at {settings.servers}: {error}", code="kafka-client-failed", **where
            ) from exception
        raise translate(error, doing, settings, memory, **where) from exception
    except TimeoutError as exception:  # of a future that the client didn't complete in time
        error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001
        raise translate(error, doing, settings, memory, **where) from exception
    except (TypeError, ValueError) as exception:
        # The client's constructors refuse a key's value that way.
        raise SettingsError(
            f"{doing}: connection {settings.conn_id}: {exception}. Correct its Extra",
            code="kafka-setting-invalid",
            **where,
        ) from exception
