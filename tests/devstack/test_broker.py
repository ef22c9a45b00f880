"""A broker of our own: its records survive, its processes don't."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from devstack import StackError, ensure_topic, running_broker
from devstack.broker import ExternalBroker
from devstack.service import marked_processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    errors: list[object] = []
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors == [None]


def read(bootstrap: str, topic: str) -> list[bytes]:
    """Returns everything in partition 0, up to its end."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        consumer.assign([TopicPartition(topic, 0, low)])
        return [m.value() or b"" for m in consumer.consume(high - low, timeout=30)]
    finally:
        consumer.close()


@pytest.mark.slow
def test_records_survive_a_kill_and_a_stop(tmp_path: Path) -> None:
    """After a kill and after a stop the broker has the same address and the same records; then nothing is left."""
    with running_broker(tmp_path, {"message.max.bytes": "2000000"}, listeners={"SECOND": "PLAINTEXT"}) as broker:
        assert ensure_topic(broker.bootstrap, "kept", 1)
        assert not ensure_topic(broker.bootstrap, "kept", 1)
        produce(broker.bootstrap, "kept", b"before")

        address = broker.bootstrap
        broker.kill()
        assert marked_processes(tmp_path) == set()
        broker.start()
        assert broker.bootstrap == address
        produce(broker.address("SECOND"), "kept", b"after the kill")

        broker.stop()
        broker.start()
        assert read(broker.bootstrap, "kept") == [b"before", b"after the kill"]

        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        (found,) = admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]).values()
        assert found.result(30)["message.max.bytes"].value == "2000000"
    assert marked_processes(tmp_path) == set()
    assert "Kafka Server started" in (tmp_path / "broker.log").read_text()


def test_a_broker_that_refuses_its_settings_says_why(tmp_path: Path) -> None:
    """A property that Kafka refuses ends in Kafka's own words, and leaves no process."""
    with pytest.raises(StackError, match=r"log\.segment\.bytes"), running_broker(tmp_path, {"log.segment.bytes": "x"}):
        pass
    assert marked_processes(tmp_path) == set()


def test_an_absent_external_broker_is_said() -> None:
    """An address where nothing answers is refused by its name."""
    with pytest.raises(StackError, match="KAFKA_BOOTSTRAP"):
        ExternalBroker("127.0.0.1:1", timeout_s=1)
