"""A connection's Extra: what is required, refused and overridden, before any client is made."""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer, cimpl

from topicledger.errors import SettingsError
from topicledger.kafka.settings import CALLBACK_KEYS, REFUSED_KEYS, SECRET_KEYS, KafkaSettings

SERVERS = {"bootstrap.servers": "broker:9092"}
LOG = "topicledger.kafka.settings"


def settings(**extra: Any) -> KafkaSettings:
    return KafkaSettings("kafka_default", {**SERVERS, **{key.replace("__", "."): v for key, v in extra.items()}})


@pytest.mark.parametrize(
    "extra", [{}, {"bootstrap.servers": ""}, {"bootstrap.servers": " "}, {"bootstrap.servers": 9092}]
)
def test_no_servers(extra: dict[str, Any]) -> None:
    """Without servers the connection is refused, with its id and an example of what to write."""
    with pytest.raises(SettingsError, match=r'kafka_default .*"bootstrap\.servers": "host:9092"'):
        KafkaSettings("kafka_default", extra)


@pytest.mark.fault(80, "stopped")
@pytest.mark.parametrize(("key", "why"), REFUSED_KEYS.items())
def test_keys_that_nobody_may_set(key: str, why: str) -> None:
    """A key that loads code, runs a command or gets round the pipeline is refused by name, its value not shown."""
    with pytest.raises(SettingsError, match=rf"kafka_default: its Extra has {key} \({why}\)") as refused:
        KafkaSettings("kafka_default", {**SERVERS, key: "/tmp/value-of-the-key"})
    assert "value-of-the-key" not in str(refused.value)


@pytest.mark.fault(80, "stopped")
@pytest.mark.parametrize("key", sorted(CALLBACK_KEYS))
def test_callbacks_given_as_text(key: str) -> None:
    """A callback that is still a text, which somebody else would have to import, is refused; a callable is taken."""
    with pytest.raises(SettingsError, match=rf"{key} \(runs code\)"):
        KafkaSettings("kafka_default", {**SERVERS, key: "os.system"})
    assert KafkaSettings("kafka_default", {**SERVERS, key: print}).admin()[key] is print


@pytest.mark.fault(80, "stopped")
@pytest.mark.parametrize("key", ["sasl.kerberos.principal", "sasl.kerberos.keytab"])
@pytest.mark.parametrize(
    "value", ["x; touch /tmp/x", "$(id)", "`id`", 'x" || id || "', "a\nid", "a b", "%{sasl.password}"]
)
def test_values_that_would_reach_a_shell(key: str, value: str) -> None:
    """What goes into the command that renews a Kerberos ticket has no character that a shell acts on."""
    with pytest.raises(SettingsError, match=f"kafka_default: {key} in its Extra goes into a shell command"):
        KafkaSettings("kafka_default", {**SERVERS, key: value})
    KafkaSettings("kafka_default", {**SERVERS, key: "/etc/security/etl_user-1.keytab@EXAMPLE.COM"})


@pytest.mark.fault(47, "stopped")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable.ssl.certificate.verification", False),
        ("enable.ssl.certificate.verification", "F"),
        ("enable.ssl.certificate.verification", "0"),
        ("enable.ssl.certificate.verification", ""),
        ("ssl.endpoint.identification.algorithm", "NONE"),
        ("ssl.endpoint.identification.algorithm", None),
    ],
)
def test_verification_cannot_be_turned_off(key: str, value: Any) -> None:
    """No spelling of a value turns the check of the broker's certificate or of its host name off."""
    with pytest.raises(SettingsError, match=f"kafka_default: {key} in its Extra lets anybody pose as the broker"):
        KafkaSettings("kafka_default", {**SERVERS, key: value})


def test_verification_may_be_asked_for() -> None:
    """Saying that verification is on, in any spelling, is fine."""
    for value in (True, "true", "True", "1"):
        KafkaSettings("kafka_default", {**SERVERS, "enable.ssl.certificate.verification": value})
    KafkaSettings("kafka_default", {**SERVERS, "ssl.endpoint.identification.algorithm": "HTTPS"})


def test_every_property_of_the_client_was_looked_at(tmp_path: Path) -> None:
    """The installed client has no property that sounds like code, a secret or a file, and that nobody has judged."""
    properties = set(client_properties(tmp_path / "properties"))
    assert len(properties) > 150
    code = {name for name in properties if re.search(r"cmd|plugin|engine|providers|signal|interceptor", name)}
    assert code <= {*REFUSED_KEYS, *ONLY_FOR_PROGRAMS, *HARMLESS}
    callbacks = {name for name in properties if name.endswith("_cb")}
    assert callbacks <= {*CALLBACK_KEYS, *ONLY_FOR_PROGRAMS}
    secrets = {
        name for name in properties if re.search(r"password|passphrase|secret|key\.pem|username|\.config$", name)
    }
    assert secrets <= SECRET_KEYS
    files = {name for name in properties if re.search(r"\.(location|file|path|keytab)s?$", name)}
    assert files <= {*REFUSED_KEYS, *ONLY_READ}


ONLY_FOR_PROGRAMS = {
    "background_event_cb",
    "socket_cb",
    "connect_cb",
    "closesocket_cb",
    "open_cb",
    "resolve_cb",
    "ssl.certificate.verify_cb",
    "ssl_engine_callback_data",
    "oauthbearer_token_refresh_cb",
    "consume_cb",
    "rebalance_cb",
    "offset_commit_cb",
    "dr_cb",
    "dr_msg_cb",
    "partitioner_cb",
    "interceptors",
}
"""The client takes them from a function's call alone."""

HARMLESS = {"ssl.engine.id"}
"""It only chooses within the library of `ssl.engine.location`."""

ONLY_READ = {
    "ssl.key.location",
    "ssl.certificate.location",
    "ssl.ca.location",
    "https.ca.location",
    "ssl.crl.location",
    "ssl.keystore.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
}
"""Files that are read; the last two reach the token endpoint, as SECURITY.md says."""


@pytest.mark.parametrize("name", sorted(ONLY_FOR_PROGRAMS))
def test_the_client_refuses_what_only_programs_set(name: str) -> None:
    """Those properties can't come from an Extra: the client refuses them as texts."""
    with pytest.raises(KafkaException, match=r"dedicated|not settable"):
        Producer({"bootstrap.servers": "127.0.0.1:1", name: "os.system"})


def client_properties(path: Path) -> Iterator[str]:
    """The properties that the installed librdkafka lists about itself."""
    client, system = ctypes.CDLL(cimpl.__file__), ctypes.CDLL(None)
    system.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(system.fopen(str(path).encode(), b"w"))
    client.rd_kafka_conf_properties_show(file)
    system.fclose(file)
    for line in path.read_text().splitlines():
        name, bar, _ = line.partition("|")
        if bar and "-" not in name and name.strip() != "Property":
            yield name.strip()


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("enable.auto.commit", "true", False),
        ("enable.auto.offset.store", True, False),
        ("isolation.level", "read_uncommitted", "read_committed"),
        ("auto.offset.reset", "earliest", "error"),
        ("enable.partition.eof", "false", True),
        ("check.crcs", False, True),
        ("allow.auto.create.topics", "true", False),
    ],
)
def test_consumer_guarantees_win(caplog: pytest.LogCaptureFixture, key: str, wrong: Any, right: Any) -> None:
    """What the protocol rests on overrides the Extra, and a warning names key, value and what is used instead."""
    with caplog.at_level(logging.WARNING, LOG):
        assert settings(**{key: wrong}).consumer("group")[key] == right
    assert caplog.messages == [f"connection kafka_default sets {key}={wrong}; the pipeline needs {right} and uses that"]


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [("enable.idempotence", "false", True), ("acks", "1", "all"), ("delivery.report.only.error", "true", False)],
)
def test_producer_guarantees_win(caplog: pytest.LogCaptureFixture, key: str, wrong: Any, right: Any) -> None:
    """An idempotent producer with acks from all, each reported, stays one, with a warning."""
    with caplog.at_level(logging.WARNING, LOG):
        assert settings(**{key: wrong}).producer()[key] == right
    assert any(key in message for message in caplog.messages)


def test_the_run_chooses_the_group(caplog: pytest.LogCaptureFixture) -> None:
    """A group.id in the Extra is the provider's habit: the run's own is used, without a warning."""
    with caplog.at_level(logging.WARNING, LOG):
        assert settings(**{"group.id": "theirs"}).consumer("ours")["group.id"] == "ours"
    assert not caplog.messages


@pytest.mark.parametrize("value", ["FALSE", "false", False])
def test_saying_the_same_is_no_warning(caplog: pytest.LogCaptureFixture, value: Any) -> None:
    """An Extra that asks for what is used anyway is not warned about, however it is spelled."""
    with caplog.at_level(logging.WARNING, LOG):
        settings(**{"enable.auto.commit": value}).consumer("group")
    assert not caplog.messages


def test_tuning_is_the_users() -> None:
    """Keys that change no guarantee are taken from the Extra over the defaults."""
    tuned = settings(**{"compression.type": "lz4", "linger.ms": 1, "fetch.wait.max.ms": 7})
    assert (tuned.producer()["compression.type"], tuned.producer()["linger.ms"]) == ("lz4", 1)
    assert tuned.consumer("group")["fetch.wait.max.ms"] == 7
    assert settings(**{"fetch.queue.backoff.ms": 500}).consumer("group")["fetch.queue.backoff.ms"] == 500
    assert settings().producer()["compression.type"] == "zstd"


def test_a_full_queue_is_looked_at_again_soon() -> None:
    """By its own default the client would stand still for a second, while its queue is read in a fraction of one."""
    assert settings().consumer("group")["fetch.queue.backoff.ms"] <= 20


@pytest.mark.parametrize("key", sorted(SECRET_KEYS))
def test_no_secret_is_shown(key: str) -> None:
    """Neither the connection's repr nor its text shows a secret."""
    shown = settings(**{key: "hunter2"})
    assert "hunter2" not in f"{shown!r} {shown}"
