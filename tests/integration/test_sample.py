"""A sample of a topic: its newest records, read_committed, and nothing of it left on the broker."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from tests.support.records import aborted, committed, left_open, sign_ups
from tests.support.steps import Case
from tests.support.topics import LIMIT_S, quiet
from topicledger.kafka.sample import newest_records
from topicledger.kafka.topic import TopicObserver


def sampled(case: Case, count: int) -> list[tuple[int, int]]:
    """The (partition, offset) of each record of a sample, in order."""
    with TopicObserver(case.kafka, case.topic) as observer:
        state = observer.state()
    chunks = list(newest_records(case.kafka, state, count, f"{case.pipeline.name}.sample"))
    assert all(chunk.values for chunk in chunks)
    return sorted(place for chunk in chunks for place in zip(chunk.partitions, chunk.offsets, strict=True))


def test_the_newest_of_each_partition(duckdb_case: Case) -> None:
    """As many as asked for, of the ends of all partitions; what one hasn't got another gives; and no group is left."""
    case = duckdb_case
    assert sampled(case, 10) == []
    case.send([*sign_ups(range(30)), *(record for record in sign_ups(range(6), 2) if record.partition == 1)])
    assert sampled(case, 10) == [*((0, offset) for offset in range(23, 30)), *((1, offset) for offset in range(3))]
    assert len(sampled(case, 1_000)) == 33
    groups = AdminClient({"bootstrap.servers": case.topics.bootstrap}, logger=quiet).list_consumer_groups()
    assert case.pipeline.name not in str([group.group_id for group in groups.result(LIMIT_S).valid])


def test_offsets_without_a_record(duckdb_case: Case) -> None:
    """What was aborted or isn't committed yet isn't in it: it looks further back for as many as were asked for."""
    case = duckdb_case
    case.send(sign_ups(range(8)))
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(20)))
    committed(case.topics.bootstrap, case.topic, sign_ups(range(8, 10)))
    with left_open(case.topics.bootstrap, case.topic, sign_ups(range(50, 55))):
        found = sampled(case, 4)
    assert found[-2:] == [(0, 29), (0, 30)]
    assert 4 <= len(found) <= 10
    assert all(offset < 8 for _, offset in found[:-2])
