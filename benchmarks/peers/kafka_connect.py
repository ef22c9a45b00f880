"""Kafka Connect's file sink on a standalone worker, of the broker's version, with the heap that its own script gives.

The worker is started first; what is measured is from asking it for the connector to the commit of the last offset.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
from confluent_kafka import Consumer, TopicPartition

from benchmarks.peers.work import Work, require_all
from devstack.jars import connect_class_path
from devstack.java import java_program
from devstack.ports import LOCALHOST, free_port
from devstack.service import Service, wait_until_ready
from devstack.topics import admin, ensure_topic

_JAVA_OPTIONS = ("-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
_LIMIT_S = 60
_COMMITS_EVERY_MS = 500
"""60,000 by default, which would say nothing about when it is done."""
_LOOK_EVERY_S = 0.1
_STRINGS = "org.apache.kafka.connect.storage.StringConverter"
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_PLACE = "org.apache.kafka.connect.transforms.InsertField$Value"


def json_values(work: Work) -> float:
    """Values as JSON, with partition, offset and timestamp put into them; what isn't JSON becomes a dead letter."""
    place = {
        "transforms": "place",
        "transforms.place.type": _PLACE,
        "transforms.place.partition.field": "partition",
        "transforms.place.offset.field": "offset",
        "transforms.place.timestamp.field": "timestamp",
    }
    return _sunk(work, {"value.converter": _JSON, "value.converter.schemas.enable": "false", **place})


def string_values(work: Work) -> float:
    """Values as strings, which any bytes are: nothing is judged."""
    return _sunk(work, {"value.converter": _STRINGS})


def _sunk(work: Work, converter: dict[str, str]) -> float:
    dead_letters = f"{work.group}-dead-letters"
    ensure_topic(work.bootstrap, dead_letters, 1)
    connector = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "topics": work.topic,
        "file": str(work.rows),
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead_letters,
        "errors.deadletterqueue.topic.replication.factor": "1",
        "errors.deadletterqueue.context.headers.enable": "true",
        **converter,
    }
    reader = Consumer({"bootstrap.servers": work.bootstrap, "group.id": f"connect-{work.group}"})
    with closing(reader), _running_worker(work) as (worker, rest):
        started = time.perf_counter()
        rest.put(f"/connectors/{work.group}/config", json=connector).raise_for_status()
        while _committed(reader, work.topic) < work.records:
            worker.expect_alive()
            _expect_no_failure(rest, work.group)
            time.sleep(_LOOK_EVERY_S)
        seconds = time.perf_counter() - started
        rejected = reader.get_watermark_offsets(TopicPartition(dead_letters, 0), timeout=_LIMIT_S)[1]
    with work.rows.open("rb") as rows:
        require_all(work, sum(1 for _ in rows), rejected, every_rule=False)
    client = admin(work.bootstrap)
    client.delete_topics([dead_letters])[dead_letters].result(_LIMIT_S)
    return seconds


@contextmanager
def _running_worker(work: Work) -> Iterator[tuple[Service, httpx.Client]]:
    address = f"http://{LOCALHOST}:{free_port()}"
    settings = {
        "bootstrap.servers": work.bootstrap,
        "key.converter": _STRINGS,
        "value.converter": _STRINGS,
        "offset.storage.file.filename": str(work.folder / "offsets"),
        "offset.flush.interval.ms": str(_COMMITS_EVERY_MS),
        "listeners": address,
    }
    properties = work.folder / "worker.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = [java_program(), *_JAVA_OPTIONS, "-cp", connect_class_path()]
    worker = Service.start(
        "The Kafka Connect worker",
        [*command, "org.apache.kafka.connect.cli.ConnectStandalone", str(properties)],
        folder=work.folder,
        log=work.folder / "connect.log",
    )
    try:
        with httpx.Client(base_url=address, timeout=_LIMIT_S, trust_env=False) as rest:
            wait_until_ready(worker, lambda: _answers(rest), _LIMIT_S)
            yield worker, rest
    finally:
        worker.stop()


def _answers(rest: httpx.Client) -> bool:
    try:
        return rest.get("/connectors").is_success
    except httpx.TransportError:
        return False


def _expect_no_failure(rest: httpx.Client, connector: str) -> None:
    status = rest.get(f"/connectors/{connector}/status")
    tasks = status.json()["tasks"] if status.is_success else []  # it has none until it has begun
    if failed := [task["trace"] for task in tasks if task["state"] == "FAILED"]:
        raise RuntimeError(failed[0])


def _committed(reader: Consumer, topic: str) -> int:
    partitions = reader.list_topics(topic, timeout=_LIMIT_S).topics[topic].partitions
    asked = [TopicPartition(topic, partition) for partition in partitions]
    return sum(max(0, place.offset) for place in reader.committed(asked, timeout=_LIMIT_S))
