"""Tasks that are cleared, repeated or raced: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.looking import count
from tests.support.records import Record, good, sign_ups
from tests.support.step_process import started_step
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError
from topicledger.model.ledger import LedgerRow

EVERY_KEY = True
BATCH = [(b"k", r.value) for r in sign_ups(range(10))] + [(b"k", b"{")]


def stored(row: LedgerRow | None) -> LedgerRow:
    assert row is not None
    return row


@pytest.mark.fault(14, "nothing to do")
def test_load_again_after_cleanup(case: Case) -> None:
    """Clearing the load alone after cleanup changes nothing and gives the stored accounts."""
    run = run_steps(case, records=BATCH)
    first = run.accounts
    assert run.load() == first
    assert run.reconcile() == first
    assert count(case.place, "topicledger_batches") == 1
    case.oracle().require_every_record_once()


@pytest.mark.fault(14, "nothing to do")
def test_load_again_before_cleanup(case: Case) -> None:
    """Loading twice while the files are there loads once; both give the same ledger row."""
    run = OneRun(case)
    run.produce(BATCH)
    run.consume()
    first = run.load()
    assert run.load() == first
    assert count(case.place, "topicledger_batches") == 1
    case.oracle().require_every_record_once()


def test_files_gone_before_the_load(case: Case) -> None:
    """Files that are gone before they were loaded fail the load, which names what to clear; staged again they load."""
    run = OneRun(case)
    run.produce(BATCH)
    run.consume()
    run.clean_up()
    with pytest.raises(IntegrityError, match=r"is gone .* from planning on"):
        run.load()
    assert count(case.place, case.pipeline.table) == 0
    assert run.finish().loaded == 10
    case.oracle().require_every_record_once()


def test_consume_again_before_the_load(duckdb_case: Case) -> None:
    """Consuming twice stages the same plan under two names; the second is loaded, cleanup removes both."""
    case = duckdb_case
    run = OneRun(case)
    run.produce(BATCH)
    first = run.consume()
    second = run.consume()
    assert first.handle.plan_id == second.handle.plan_id
    assert first.rows_path != second.rows_path
    assert run.load().loaded == 10
    run.clean_up()
    assert case.staged_files() == []
    case.oracle().require_every_record_once()


def test_consume_again_after_the_load(case: Case) -> None:
    """Clearing the consumer after the run loads nothing twice: its new plan is empty, with a ledger row of its own."""
    run = run_steps(case, records=BATCH)
    first = stored(run.row)
    accounts = run.finish()
    assert (accounts.records, accounts.loaded) == (0, 0)
    assert stored(run.row).plan_id != first.plan_id
    assert count(case.place, "topicledger_batches") == 2
    case.oracle().require_every_record_once()


@pytest.mark.fault(15, "counted")
def test_whole_run_again_with_new_records_since(case: Case) -> None:
    """A cleared run makes the same records again: duplicates and new dead letters; what is new besides is loaded."""
    run = run_steps(case, records=BATCH)
    case.send([*sign_ups(range(20, 24)), Record(good(3, username="conflicting"))])
    run.produce(BATCH)
    accounts = run.finish()
    assert (accounts.loaded, accounts.duplicates) == case.counted(4, 11)
    assert (accounts.conflicts, accounts.dead_letters) == (1 if case.pipeline.key else 0, 1)
    assert (accounts.acked, accounts.acked_seen) == (11, 11)
    assert count(case.place, "topicledger_batches") == 2
    case.oracle().require_every_record_once()


@pytest.mark.fault(2, "counted")
@pytest.mark.fault(84, "counted")
def test_two_attempts_to_produce(duckdb_case: Case) -> None:
    """What a dead attempt left on the topic is counted as duplicates; the receipt is the last attempt's."""
    case = duckdb_case
    run = OneRun(case)
    run.produce(BATCH[:6])
    run.produce(BATCH)
    accounts = run.finish()
    assert (accounts.acked, accounts.acked_seen) == (11, 11)
    assert (accounts.loaded, accounts.duplicates) == case.counted(10, 6)
    case.oracle().require_every_record_once()


@pytest.mark.fault(11, "goes on")
def test_an_older_attempts_handle_after_a_newer_ones_load(duckdb_case: Case) -> None:
    """A zombie that loads what it staged before the newer attempt loaded more finds all of it already loaded."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    zombie, retry = OneRun(case), OneRun(case)
    zombie.consume()
    case.send(sign_ups(range(6, 10), partitions=2))
    retry.consume()
    assert retry.load().loaded == 10
    accounts = zombie.load()
    assert (accounts.already_loaded, accounts.loaded) == (6, 0)
    zombie.reconcile()
    retry.reconcile()
    case.oracle().require_every_record_once()


def test_ledger_made_anew_between_plan_and_load(duckdb_case: Case) -> None:
    """A staged batch doesn't load into a ledger that has forgotten its partitions; consumed again it does."""
    case = duckdb_case
    run = OneRun(case)
    run.produce(BATCH)
    run.consume()
    Path(str(case.place.host)).unlink()
    with pytest.raises(IntegrityError, match="no position for partitions"):
        run.load()
    assert run.finish().loaded == 10
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(16, "goes on")
def test_two_runs_at_once(case: Case) -> None:
    """Of two runs that plan alike and load at the same time, one loads all and the other finds it loaded."""
    first, second = OneRun(case, "scheduled__1"), OneRun(case, "manual__1")
    first.produce((r.key, r.value) for r in sign_ups(range(100)))
    second.produce((r.key, r.value) for r in sign_ups(range(100, 200)))
    for step in ("consume", "load", "reconcile"):
        with started_step(first, step) as one, started_step(second, step) as other:
            assert one.finish() == 0, one.errors()
            assert other.finish() == 0, other.errors()
    assert stored(first.row).plan_id == stored(second.row).plan_id
    found = {(run.accounts.loaded, run.accounts.already_loaded) for run in (first, second)}
    assert found == {(200, 0), (0, 200)}
    assert count(case.place, "topicledger_batches") == 2
    case.oracle().require_every_record_once()


@pytest.mark.fault(17, "goes on")
def test_runs_of_past_dates(duckdb_case: Case) -> None:
    """Dates say nothing about offsets: each run takes what is new since the ledger; nothing new is a success, too."""
    case, loaded = duckdb_case, []
    for day, numbers in ((3, range(6)), (1, range(6, 10)), (2, range(0))):
        case.send(sign_ups(numbers, partitions=2))
        loaded.append(run_steps(case, f"backfill__2026-01-0{day}T00:00:00+00:00").accounts.loaded)
    assert loaded == [6, 4, 0]
    assert count(case.place, "topicledger_batches") == 3
    case.oracle().require_every_record_once()
