"""Which offsets a run reads: from the ledger's position to an end fixed before, and nothing is ever skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, event_id, sign_ups
from tests.support.steps import Case, OneRun, run_steps


def header_only(run: OneRun) -> bool:
    assert run.staged is not None
    lines = Path(run.staged.rows_path).read_text().splitlines()
    return len(lines) == 1 and lines[0].startswith('"event_id",')


@pytest.mark.fault(39, "goes on")
def test_empty_topic(case: Case) -> None:
    """An empty topic stages a file with a header only, closes its books, and leaves a row in the ledger."""
    run = OneRun(case)
    run.consume()
    assert header_only(run)
    accounts = run.load()
    assert run.reconcile() == accounts
    assert (accounts.records, accounts.loaded, accounts.invisible) == (0, 0, 0)
    assert count(case.place, "topicledger_batches") == 1
    case.oracle().require_every_record_once()


@pytest.mark.fault(39, "goes on")
def test_empty_range(duckdb_case: Case) -> None:
    """A run with nothing new succeeds without a record, and has a ledger row of its own."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    run_steps(case, "manual__1")
    run = OneRun(case, "manual__2")
    run.consume()
    assert header_only(run)
    assert run.load().records == 0
    run.reconcile()
    assert count(case.place, "topicledger_batches") == 2
    case.oracle().require_every_record_once()


def test_all_malformed(case: Case) -> None:
    """A batch of nothing but malformed records succeeds, and its offsets are committed through the end."""
    case.send(Record(b"{" + bytes([65 + n]), partition=n % 2) for n in range(20))
    run = run_steps(case)
    assert (run.accounts.loaded, run.accounts.dead_letters) == (0, 20)
    ends = case.topics.ends(case.topic)
    group = case.pipeline.name
    assert case.topics.committed(f"{group}.{run.batch_id}", case.topic) == ends == {0: 10, 1: 10}
    assert case.topics.committed(group, case.topic) == ends
    case.oracle().require_every_record_once()


def test_the_group_is_committed_only_after_staging(duckdb_case: Case) -> None:
    """Before the consume step has staged the batch its group has no offsets, afterwards those of the plan's end."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    run = OneRun(case)
    group = f"{case.pipeline.name}.{run.batch_id}"
    assert case.topics.committed(group, case.topic) == {}
    run.consume()
    assert case.topics.committed(group, case.topic) == {0: 3, 1: 3}


def test_first_run_on_a_topic_with_history(case: Case) -> None:
    """The first run loads what was on the topic before it, and its own batch."""
    case.send(sign_ups(range(30), partitions=2))
    run = run_steps(case, records=[(r.key, r.value) for r in sign_ups(range(100, 110))])
    assert (run.accounts.loaded, run.accounts.acked_seen) == (40, 10)
    case.oracle().require_every_record_once()


def test_first_run_on_a_topic_whose_head_is_gone(duckdb_case: Case) -> None:
    """Records that were deleted before the very first run are no loss: the books begin at the first that is left."""
    case = duckdb_case
    case.send(sign_ups(range(10)))
    case.topics.delete_records(case.topic, 0, 4)
    accounts = run_steps(case).accounts
    assert (accounts.loaded, accounts.gap) == (6, 0)
    case.oracle().require_every_record_once()


def test_origin_latest(duckdb_case: Case) -> None:
    """With `latest` the books begin at this run's own first records, and from then on nothing is left out."""
    case = duckdb_case.changed(origin="latest")
    case.send(sign_ups(range(10), partitions=2))
    first = run_steps(case, "manual__1", records=[(r.key, r.value) for r in sign_ups(range(100, 110))])
    assert (first.accounts.loaded, first.accounts.acked_seen) == (10, 10)
    case.send(sign_ups(range(20, 24), partitions=2))
    assert run_steps(case, "manual__2").accounts.loaded == 4
    case.oracle().require_every_record_once(before_origin=10)


def test_origin_latest_without_a_batch_of_its_own(duckdb_case: Case) -> None:
    """With `latest` and nothing produced the first run reads nothing, the next one what came since."""
    case = duckdb_case.changed(origin="latest")
    case.send(sign_ups(range(10), partitions=2))
    assert run_steps(case, "manual__1").accounts.records == 0
    case.send(sign_ups(range(20, 24), partitions=2))
    assert run_steps(case, "manual__2").accounts.loaded == 4
    case.oracle().require_every_record_once(before_origin=10)


@pytest.mark.fault(38, "goes on")
def test_partitions_added(case: Case) -> None:
    """Partitions that appear between two runs are read from their first offset."""
    case.send(sign_ups(range(6), partitions=2))
    run_steps(case, "manual__1")
    case.topics.add_partitions(case.topic, 4)
    case.send(sign_ups(range(10, 22), partitions=4))
    assert run_steps(case, "manual__2").accounts.loaded == 12
    case.oracle().require_every_record_once()


@pytest.mark.fault(100, "goes on")
def test_a_cap_below_the_batch(case: Case) -> None:
    """With `max_records` each run closes and says what is left, and the backlog shrinks until nothing is."""
    case = case.changed(max_records=7)
    case.send(sign_ups(range(10)))
    first = OneRun(case, "manual__1")
    first.produce((r.key, r.value) for r in sign_ups(range(100, 110)))
    left, oracle = 20, case.oracle()
    accounts = first.finish()
    assert (accounts.records, accounts.acked, accounts.acked_seen) == (7, 10, None)
    for number in (2, 3):
        left -= 7
        oracle.require_every_record_once(unread=left)
        run_steps(case, f"manual__{number}")
    oracle.require_every_record_once()
    assert count(case.place, case.pipeline.table) == 20


@pytest.mark.fault(91, "goes on")
def test_two_targets_on_one_topic(case: Case) -> None:
    """Two pipelines on one topic, in one warehouse, each have their own positions, and each loads every record."""
    other = case.changed(name=f"{case.pipeline.name}_other", table="other_signups")
    case.send(sign_ups(range(8), partitions=2))
    assert run_steps(case, "manual__1").accounts.loaded == 8
    case.send(sign_ups(range(8, 12), partitions=2))
    assert run_steps(other, "manual__1").accounts.loaded == 12
    assert run_steps(case, "manual__2").accounts.loaded == 4
    case.oracle().require_every_record_once()
    other.oracle().require_every_record_once()


def test_two_runs_from_one_position(case: Case) -> None:
    """Of two runs planned from the same position the second to load counts what the first loaded, and both close."""
    case.send([*sign_ups(range(8), partitions=2), Record(b"{"), Record(None)])
    first, second = OneRun(case, "manual__1"), OneRun(case, "scheduled__1")
    first.consume()
    case.send([*sign_ups(range(8, 12), partitions=2), Record(b"}"), Record(None)])
    second.consume()
    assert first.load().loaded == 8
    accounts = second.load()
    assert (accounts.records, accounts.already_loaded, accounts.loaded) == (16, 10, 4)
    assert (accounts.dead_letters, accounts.tombstones) == (1, 1)
    first.reconcile()
    second.reconcile()
    case.oracle().require_every_record_once()


def test_the_shorter_plan_loads_last(duckdb_case: Case) -> None:
    """A run whose whole plan another run has loaded further loads nothing, and the position doesn't go back."""
    case = duckdb_case
    case.send(sign_ups(range(8), partitions=2))
    shorter, longer = OneRun(case, "manual__1"), OneRun(case, "scheduled__1")
    shorter.consume()
    case.send(sign_ups(range(8, 12), partitions=2))
    longer.consume()
    assert longer.load().loaded == 12
    accounts = shorter.load()
    assert (accounts.records, accounts.already_loaded, accounts.loaded) == (8, 8, 0)
    shorter.reconcile()
    longer.reconcile()
    case.oracle().require_every_record_once()


@pytest.mark.fault(85, "goes on")
def test_another_run_loads_this_runs_batch(duckdb_case: Case) -> None:
    """When another run has loaded what this one produced, this one's range is empty and its books close."""
    case = duckdb_case
    run = OneRun(case, "manual__1")
    run.produce((r.key, r.value) for r in sign_ups(range(10)))
    assert run_steps(case, "scheduled__1").accounts.loaded == 10
    accounts = run.finish()
    assert (accounts.records, accounts.acked, accounts.acked_seen) == (0, 10, None)
    case.oracle().require_every_record_once()


def test_what_comes_during_the_read_is_the_next_runs(duckdb_case: Case) -> None:
    """Records that arrive after planning are not in the batch; the next run loads them."""
    case = duckdb_case
    case.send(sign_ups(range(4)))
    run = OneRun(case, "manual__1")
    run.consume()
    case.send(sign_ups(range(4, 6)))
    run.load()
    assert run.manifest.records == 4
    assert run_steps(case, "manual__2").accounts.loaded == 2
    found = query(case.place, "SELECT CAST(event_id AS varchar) FROM user_signups ORDER BY _kafka_offset")
    assert [key for (key,) in found] == [event_id(n) for n in range(6)]
