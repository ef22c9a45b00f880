"""What happens to the topic, or in the client, while a batch is produced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun
from tests.support.topics import Topics
from topicledger.errors import IntegrityError
from topicledger.kafka.producer import BatchProducer
from topicledger.kafka.settings import KafkaSettings


def test_a_topic_recreated_while_it_is_produced_to(duckdb_case: Case) -> None:
    """Records of which it isn't known on which topic they are give no receipt: the run produces again."""
    case = duckdb_case

    def meanwhile() -> Iterator[tuple[bytes | None, bytes | None]]:
        case.topics.recreate(case.topic, 2)
        yield from ((r.key, r.value) for r in sign_ups(range(6)))

    run = OneRun(case)
    with pytest.raises(IntegrityError, match=r"was recreated while this run produced .* from producing on"):
        run.produce(meanwhile())
    run.produce((r.key, r.value) for r in sign_ups(range(6)))
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked, accounts.acked_seen) == (6, 6, 6)


def test_a_full_queue_drops_nothing(topics: Topics, duckdb_case: Case) -> None:
    """When the client's queue is full the record is offered again: every one is acknowledged."""
    settings = KafkaSettings(
        "kafka_default", {"bootstrap.servers": topics.bootstrap, "queue.buffering.max.messages": 10, "linger.ms": 1}
    )
    records = ((b"k", b"%d" % number) for number in range(500))
    assert BatchProducer(settings, duckdb_case.topic, ()).produce(records) == 500
    assert sum(topics.ends(duckdb_case.topic).values()) == 500
