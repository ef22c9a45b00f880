"""What Kafka lost: named with the exact interval, accepted exactly by a person, on record; else the run stops."""

from __future__ import annotations

import re

import pytest

from tests.support.at_point import at_point
from tests.support.looking import query
from tests.support.oracle import Coordinates
from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError, RetriableError, SettingsError


def printed_entries(error: BaseException) -> list[str]:
    """The entries of `accept` as the error's message prints them."""
    [listed] = re.findall(r'\{"accept": \[(.*?)\]\}', str(error))
    return re.findall(r'"([^"]+)"', listed)


def require_refused(case: Case, *accept: str) -> str:
    """A new run stops at planning, stages nothing, and leaves the positions where they were."""
    before = query(case.place, "SELECT * FROM topicledger_positions ORDER BY 1, 3, 4")
    with pytest.raises(IntegrityError) as refused:
        OneRun(case, "refused").consume(accept)
    assert case.staged_files() == []
    assert query(case.place, "SELECT * FROM topicledger_positions ORDER BY 1, 3, 4") == before
    return str(refused.value)


def recorded(case: Case, entry: str) -> int:
    """How many ledger rows have an accepted entry on record."""
    found = query(case.place, "SELECT CAST(manifest AS varchar) FROM topicledger_batches")
    return sum(f'"{entry}"' in manifest for (manifest,) in found)


@pytest.mark.fault(35, "stopped")
def test_records_deleted_inside_the_range(case: Case) -> None:
    """A deleted interval stops the run; only that very interval is accepted, once, on record; later it is ignored."""
    case.send(sign_ups(range(5)))
    run_steps(case, "manual__1")
    case.send(sign_ups(range(5, 20)))
    oracle = case.oracle()
    oracle.read()
    case.topics.delete_records(case.topic, 0, 12)
    said = require_refused(case)
    assert "partition 0: offsets [5, 12), 7 in all" in said
    assert '{"accept": ["gap:0:5:12"]}' in said
    for wrong in ("gap:0:5:11", "gap:0:6:12", "gap:1:5:12", "truncated:0:5:12", "gap:0:0:20"):
        assert "gap:0:5:12" in require_refused(case, wrong)
    with pytest.raises(SettingsError, match=re.escape("'gap:0:5'")):
        OneRun(case, "refused").consume(["gap:0:5"])
    run = run_steps(case, "manual__2", accept=["gap:0:5:12"])
    assert (run.accounts.gap, run.accounts.loaded) == (7, 8)
    assert recorded(case, "gap:0:5:12") == 1
    topic_id = case.topics.topic_id(case.topic)
    lost: frozenset[Coordinates] = frozenset((topic_id, 0, offset) for offset in range(5, 12))
    oracle.require_every_record_once(lost=lost)
    case.send(sign_ups(range(20, 22)))
    assert run_steps(case, "manual__3", accept=["gap:0:5:12"]).accounts.loaded == 2
    assert recorded(case, "gap:0:5:12") == 1
    oracle.require_every_record_once(lost=lost)


@pytest.mark.fault(35, "stopped")
def test_the_whole_range_deleted(duckdb_case: Case) -> None:
    """When all that is new was deleted, in both partitions, every interval is named, and accepted the books close."""
    case = duckdb_case
    run_steps(case, "manual__1")
    case.send(sign_ups(range(10), partitions=2))
    for partition in (0, 1):
        case.topics.delete_records(case.topic, partition, 5)
    with pytest.raises(IntegrityError) as refused:
        OneRun(case, "manual__2").consume()
    entries = printed_entries(refused.value)
    assert entries == ["gap:0:0:5", "gap:1:0:5"]
    assert "gap:1:0:5" in require_refused(case, entries[0])
    accounts = run_steps(case, "manual__2", accept=entries).accounts
    assert (accounts.records, accounts.gap) == (0, 10)


@pytest.mark.fault(101, "counted")
def test_a_gap_accepted_by_two_runs(duckdb_case: Case) -> None:
    """Two runs that accept the same gap before either loads count it once in the target's books."""
    case = duckdb_case
    run_steps(case, "manual__1")
    case.send(sign_ups(range(10)))
    case.topics.delete_records(case.topic, 0, 4)
    runs = [OneRun(case, name) for name in ("manual__2", "scheduled__2")]
    for run in runs:
        run.consume(["gap:0:0:4"])
    assert [run.load().gap for run in runs] == [4, 0]
    for run in runs:
        run.reconcile()


def test_accepting_what_is_not_lost(duckdb_case: Case) -> None:
    """An interval above the position that isn't lost can't be accepted ahead of time."""
    case = duckdb_case
    case.send(sign_ups(range(5)))
    run_steps(case, "manual__1")
    case.send(sign_ups(range(5, 9)))
    assert "not what is lost" in require_refused(case, "gap:0:5:7")
    assert run_steps(case, "manual__2").accounts.loaded == 4


@pytest.mark.fault(97, "stopped")
def test_own_batch_deleted_before_the_first_plan(duckdb_case: Case) -> None:
    """Retention that takes the run's own batch before the target's first plan is no green run without it."""
    case = duckdb_case
    run = OneRun(case)
    run.produce((b"1", r.value) for r in sign_ups(range(5)))
    [(partition, end)] = [(p, end) for p, end in case.topics.ends(case.topic).items() if end]
    case.topics.delete_records(case.topic, partition, end)
    with pytest.raises(IntegrityError, match=rf"partition {partition}"):
        run.consume()
    assert case.staged_files() == []


@pytest.mark.fault(36, "stopped")
@pytest.mark.fault(37, "stopped")
def test_topic_recreated(case: Case) -> None:
    """A topic recreated with more records than before stops the run until its id is accepted; then all of it loads."""
    case.send(sign_ups(range(6), partitions=2))
    run_steps(case, "manual__1")
    oracle = case.oracle()
    oracle.read()
    topic_id = case.topics.recreate(case.topic, 2)
    case.send(sign_ups(range(4, 20), partitions=2))
    with pytest.raises(IntegrityError, match="recreated") as refused:
        OneRun(case, "manual__2").consume()
    entries = printed_entries(refused.value)
    assert entries == [f"topic_id:{topic_id}"]
    require_refused(case, f"topic_id:{'A' * 22}")
    run = run_steps(case, "manual__2", accept=entries)
    assert (run.accounts.loaded, run.accounts.duplicates) == (14, 2)
    assert recorded(case, entries[0]) == 2  # as an acceptance of its own, and with the batch that rests on it
    oracle.require_every_record_once()
    assert run_steps(case, "manual__3", accept=entries).accounts.records == 0
    oracle.require_every_record_once()


@pytest.mark.fault(36, "stopped")
@pytest.mark.fault(98, "stopped")
def test_topic_recreated_between_produce_and_consume(case: Case) -> None:
    """A topic that was recreated after the run produced sends it back to producing, also once another run accepted."""
    case.send(sign_ups(range(100, 103)))
    run_steps(case, "before")
    oracle = case.oracle()
    oracle.read()
    run = OneRun(case)
    run.produce((r.key, r.value) for r in sign_ups(range(6)))
    topic_id = case.topics.recreate(case.topic, 2)
    for accept in ([], [f"topic_id:{topic_id}"]):
        with pytest.raises(IntegrityError, match="Repeat the run from producing on"):
            run.consume(accept)
    case.send(sign_ups(range(200, 210)))
    assert run_steps(case, "other", accept=[f"topic_id:{topic_id}"]).accounts.loaded == 10
    with pytest.raises(IntegrityError, match="Repeat the run from producing on"):
        run.consume()
    assert case.staged_files() == []
    run.produce((r.key, r.value) for r in sign_ups(range(6)))
    assert run.finish().loaded == 6
    oracle.require_every_record_once()


@pytest.mark.fault(36, "stopped")
def test_topic_recreated_between_consume_and_load(duckdb_case: Case) -> None:
    """What was staged before the topic was recreated still loads: the load never asks Kafka."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    oracle = case.oracle()
    oracle.read()
    run = OneRun(case)
    run.consume()
    case.topics.recreate(case.topic, 2)
    assert run.load().loaded == 6
    run.reconcile()


@pytest.mark.fault(36, "stopped")
@pytest.mark.fault(37, "stopped")
def test_topic_recreated_during_the_read(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is recreated after planning, with as many other records, stages nothing and is named."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))

    def recreate() -> None:
        case.topics.recreate(case.topic, 2)
        case.send(sign_ups(range(10, 16), partitions=2))

    at_point(monkeypatch, "step-07.planned", recreate)
    with pytest.raises(IntegrityError, match="recreated while it was read"):
        OneRun(case).consume()
    assert case.staged_files() == []


@pytest.mark.fault(35, "stopped")
def test_records_deleted_during_the_read(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that are deleted after planning fail the attempt; the next one names what is gone."""
    case = duckdb_case
    case.send(sign_ups(range(2)))
    OneRun(case, "before").finish()
    case.send(sign_ups(range(2, 8)))
    run = OneRun(case)
    at_point(monkeypatch, "step-07.planned", lambda: case.topics.delete_records(case.topic, 0, 5))
    with pytest.raises(RetriableError, match="out of range"):
        run.consume()
    assert case.staged_files() == []
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match=re.escape("gap:0:2:5")):
        run.consume()
    assert run.finish(["gap:0:2:5"]).loaded == 3
