"""A cluster whose brokers die: too few replicas in sync, leaders that change during a read, leaders without records."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.at_point import at_point
from tests.support.cluster import Cluster, ReplicatedTopics
from tests.support.looking import query
from tests.support.places import duckdb_file
from tests.support.records import good, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import OneRun, make_case, run_steps
from tests.support.topics import LIMIT_S
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.topic import TopicObserver
from topicledger.retries import with_retries

pytestmark = pytest.mark.slow
"""Three brokers, which each test finds running."""

RECORDS = 3_000
SMALL_BATCHES = {"batch.num.messages": 50}
SMALL_FETCHES = {"queued.min.messages": 1, "queued.max.messages.kbytes": 64, "fetch.message.max.bytes": 20_000}
"""The client holds little of the topic in advance, so that most of it comes from the new leader."""


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The module's cluster."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(brokers: Cluster) -> Cluster:
    """The cluster, with the brokers started again that the test before has killed."""
    brokers.start()
    return brokers


@pytest.mark.fault(28, "retried")
def test_too_few_replicas_in_sync(cluster: Cluster, place: Connection, tmp_path: Path) -> None:
    """With fewer replicas than the topic demands no record counts as produced; once they are back the retry does it."""
    topics = ReplicatedTopics(cluster, (1, 2, 3))
    case = make_case(topics, place, tmp_path, config={"min.insync.replicas": "2"})
    for node in (2, 3):
        cluster.nodes[node].kill()
    for partition in (0, 1):
        topics.wait_in_sync(case.topic, partition, {1})
    impatient, began = case.with_extra({"message.timeout.ms": 3_000}), time.monotonic()
    records = [(r.key, r.value) for r in sign_ups(range(100))]
    with pytest.raises(RetriableError, match="100 of 100 not acknowledged") as refused:
        OneRun(impatient).produce(records)
    assert "partition 0 has 1 of 2 replicas in sync that it needs" in str(refused.value)
    assert time.monotonic() - began < LIMIT_S
    cluster.start()
    for partition in (0, 1):
        topics.wait_in_sync(case.topic, partition, {1, 2, 3})
    accounts = run_steps(case, records=records).accounts
    assert (accounts.loaded, accounts.acked, accounts.acked_seen) == (100, 100, 100)
    case.oracle().require_every_record_once()


def change_leader(topics: ReplicatedTopics, topic: str, end: Callable[[], None], node: int) -> None:
    """End the broker that leads every partition, and return when others lead."""
    end()
    for partition in (0, 1):
        topics.wait_led_by_another(topic, partition, node)


@pytest.mark.fault(33, "goes on")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_leader_changes_during_the_read(
    cluster: Cluster, place: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The leader of both partitions ends in the middle of a read: the same run goes on with the next one and closes."""
    topics = ReplicatedTopics(cluster, (2, 3, 1))
    case = make_case(topics, place, tmp_path).with_extra(SMALL_FETCHES)
    case.send(sign_ups(range(RECORDS), partitions=2), **SMALL_BATCHES)
    topics.wait_led_by(case.topic, 0, 2)
    end = getattr(cluster.nodes[2], how)
    at_point(monkeypatch, "step-09.chunk_read", lambda: change_leader(topics, case.topic, end, 2))
    run = OneRun(case)
    accounts = run.finish()
    assert (accounts.records, accounts.loaded) == (RECORDS, RECORDS)
    cluster.start()
    case.oracle().require_every_record_once()
    assert run_steps(case, "next").accounts.records == 0


def test_the_broker_that_was_asked_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    """Whichever broker a client asked for the topic's id, when that one is lost the next try asks another."""
    topics = ReplicatedTopics(cluster, (1,))
    case = make_case(topics, duckdb_file(tmp_path), tmp_path)
    observers = [TopicObserver(case.kafka, case.topic) for _ in range(6)]
    before = {observer.topic_id() for observer in observers}
    for node in (2, 3):
        cluster.nodes[node].kill()
    assert {with_retries("asking again", observer.topic_id) for observer in observers} == before


class LostRecords:
    """A partition led by broker 2, whose last four records broker 3 never got, and then leads.

    Args:
        cluster: The brokers.
        folder: For the case.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self.topics = ReplicatedTopics(cluster, (2, 3))
        config = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
        self.case = make_case(self.topics, duckdb_file(folder), folder, partitions=1, config=config)
        self.case.send(sign_ups(range(6)))
        cluster.nodes[3].kill()
        self.topics.wait_in_sync(self.case.topic, 0, {2})

    def lose(self) -> None:
        """Have broker 3 lead: everything since it went away is gone."""
        self._cluster.nodes[2].kill()
        self._cluster.nodes[3].start()
        self.topics.wait_led_by(self.case.topic, 0, 3)
        assert self.case.topics.ends(self.case.topic) == {0: 6}


@pytest.fixture
def lost(cluster: Cluster, tmp_path: Path) -> LostRecords:
    """Six records on both brokers."""
    return LostRecords(cluster, tmp_path)


@pytest.mark.fault(34, "stopped")
@pytest.mark.fault(99, "stopped")
def test_unclean_election_below_the_position(lost: LostRecords, cluster: Cluster) -> None:
    """A leader without records that were loaded stops the run, until exactly the interval is accepted, on record."""
    case = lost.case
    case.send(sign_ups(range(6, 10)))
    assert run_steps(case, "manual__1").accounts.loaded == 10
    lost.lose()
    with pytest.raises(IntegrityError, match=re.escape("offsets [6, 10), 4 in all, were truncated")) as refused:
        OneRun(case, "manual__2").consume()
    assert '{"accept": ["truncated:0:6:10"]}' in str(refused.value)
    for wrong in ("truncated:0:7:10", "gap:0:6:10"):
        with pytest.raises(IntegrityError, match=re.escape("truncated:0:6:10")):
            OneRun(case, "manual__2").consume([wrong])
    assert run_steps(case, "manual__2", accept=["truncated:0:6:10"]).accounts.records == 0
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(6, 1)]
    cluster.start()
    case.send(sign_ups(range(8, 12)))
    later = run_steps(case, "manual__3").accounts
    assert (later.loaded, later.duplicates) == (2, 2)
    found = query(case.place, "SELECT user_id FROM user_signups ORDER BY user_id")
    assert [number for (number,) in found] == list(range(12))


@pytest.mark.fault(34, "stopped")
def test_unclean_election_and_more_records_since(lost: LostRecords, cluster: Cluster) -> None:
    """A leader without loaded records, whose log has grown past them, is caught by the leader epoch."""
    case = lost.case
    case.send(sign_ups(range(6, 10)))
    assert run_steps(case, "manual__1").accounts.loaded == 10
    lost.lose()
    case.send(sign_ups(range(50, 60)))
    with pytest.raises(IntegrityError, match="truncated below the ledger's position and has grown again") as refused:
        OneRun(case, "manual__2").consume()
    assert case.staged_files() == []
    assert (refused.value.partition, refused.value.offset) == (0, 10)
    assert '{"accept": ["truncated:0:6:10"]}' in str(refused.value)
    with pytest.raises(IntegrityError, match=re.escape("truncated:0:6:10")):
        OneRun(case, "manual__2").consume(["truncated:0:7:10"])
    accepted = run_steps(case, "manual__2", accept=["truncated:0:6:10"]).accounts
    assert (accepted.records, accepted.loaded) == (10, 10)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(16, 1)]
    cluster.start()
    assert run_steps(case, "manual__2", accept=["truncated:0:6:10"]).accounts.records == 0


@pytest.mark.fault(99, "stopped")
def test_staged_before_the_position_was_set_back(lost: LostRecords) -> None:
    """What was staged from the lost end of the log no longer loads after the position was set back."""
    case = lost.case
    case.send(sign_ups(range(6, 10)))
    run_steps(case, "manual__1")
    case.send(sign_ups(range(10, 13)))
    late = OneRun(case, "late")
    late.consume()
    lost.lose()
    run_steps(case, "manual__2", accept=["truncated:0:6:10"])
    with pytest.raises(IntegrityError, match="generation"):
        late.load()


@pytest.mark.fault(4, "retried")
def test_killed_when_the_position_was_set_back(lost: LostRecords, cluster: Cluster, tmp_path: Path) -> None:
    """Killed right after an accepted truncation was recorded, the retry goes on and records nothing twice."""
    case, accept = lost.case, ["truncated:0:6:10"]
    case.send(sign_ups(range(6, 10)))
    run_steps(case, "manual__1")
    lost.lose()
    run = OneRun(case, "manual__2")
    assert not run_step(run, "consume", (tmp_path, "step-05.set_back"), accept=accept)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(6, 1)]
    cluster.start()
    case.send(sign_ups(range(8, 12)))
    assert run_step(run, "consume", accept=accept)
    accounts = run.load()
    run.reconcile()
    assert (accounts.loaded, accounts.duplicates) == (2, 2)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(10, 1)]


@pytest.mark.fault(34, "stopped")
def test_unclean_election_inside_the_range(lost: LostRecords, cluster: Cluster) -> None:
    """A leader without what the run has just produced sends the run back to producing, after which its books close."""
    case = lost.case
    run = OneRun(case)
    batch = [(str(n).encode(), good(n)) for n in range(100, 110)]
    run.produce(batch)
    lost.lose()
    with pytest.raises(IntegrityError, match="it ends at 6, this run produced through 16"):
        run.consume()
    assert case.staged_files() == []
    cluster.start()
    run.produce(batch)
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked_seen) == (16, 10)
    case.oracle().require_every_record_once()
