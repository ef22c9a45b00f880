"""A connection's Extra: what is required, refused and overridden, before any client is made."""

from __future__ import annotations

import logging
from typing import Any

import pytest

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


@pytest.mark.parametrize("key", sorted(REFUSED_KEYS))
def test_keys_that_run_code(key: str) -> None:
    """A key that loads code or runs a command is refused by name, whatever its value, which isn't shown."""
    with pytest.raises(SettingsError, match=key) as refused:
        KafkaSettings("kafka_default", {**SERVERS, key: "/tmp/value-of-the-key"})
    assert "value-of-the-key" not in str(refused.value)


@pytest.mark.parametrize("key", sorted(CALLBACK_KEYS))
def test_callbacks_given_as_text(key: str) -> None:
    """A callback that is still a text, which somebody else would have to import, is refused; a callable is taken."""
    with pytest.raises(SettingsError, match=key):
        KafkaSettings("kafka_default", {**SERVERS, key: "os.system"})
    assert KafkaSettings("kafka_default", {**SERVERS, key: print}).admin()[key] is print


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


@pytest.mark.parametrize(("key", "wrong", "right"), [("enable.idempotence", "false", True), ("acks", "1", "all")])
def test_producer_guarantees_win(caplog: pytest.LogCaptureFixture, key: str, wrong: Any, right: Any) -> None:
    """An idempotent producer with acks from all stays one, with a warning."""
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
    assert settings().producer()["compression.type"] == "zstd"


@pytest.mark.parametrize("key", sorted(SECRET_KEYS))
def test_no_secret_is_shown(key: str) -> None:
    """Neither the connection's repr nor its text shows a secret."""
    shown = settings(**{key: "hunter2"})
    assert "hunter2" not in f"{shown!r} {shown}"
