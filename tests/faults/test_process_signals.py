"""Attempts that are stopped and go on later, told to end, or run into their time limit: in the middle of a step."""

from __future__ import annotations

import dataclasses
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, sign_ups
from tests.support.step_process import run_step, started_step
from tests.support.steps import Case, OneRun
from tests.support.topics import wait_for
from topicledger.errors import RetriableError
from topicledger.warehouse.sql.transaction import SqlLoad

pytestmark = pytest.mark.slow

WHILE_STAGING = ["step-07.planned", "step-11.chunk_staged", "step-12.synced", "step-12.files_renamed", "step-12.staged"]


@pytest.fixture
def crash_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


def send_batch(case: Case) -> None:
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None), *sign_ups(range(5))])


def require_once(run: OneRun, batches: int) -> None:
    """Everything is in the warehouse once, in so many ledger rows; no staged file is left."""
    case = run.case
    run.reconcile()
    run.clean_up()
    assert case.staged_files() == []
    assert count(case.place, "topicledger_batches") == batches
    case.oracle().require_every_record_once()


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("point", WHILE_STAGING)
def test_a_zombie_goes_on_staging_after_the_next_attempt_loaded(case: Case, crash_dir: Path, point: str) -> None:
    """An attempt that is stopped while staging and goes on after the next one loaded loads nothing, and shares no file.

    The zombie has read the first records only; the next attempt has those that came meanwhile, too.
    """
    send_batch(case)
    zombie, retry = OneRun(case), OneRun(case)
    with started_step(zombie, "consume", (crash_dir, point), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        of_the_zombie = set(case.staged_files())
        case.send(sign_ups(range(300, 310), partitions=2))
        retry.consume()
        of_the_retry = set(case.staged_files()) - of_the_zombie
        assert retry.load().loaded == 310
        stopped.send(signal.SIGCONT)
        assert stopped.finish() == 0, stopped.errors()
    assert len(of_the_retry) == 5
    accounts = zombie.load()
    assert (accounts.loaded, accounts.already_loaded) == (0, 307)
    retry.reconcile()
    require_once(zombie, batches=2)


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("point", ["step-12.staged", "step-12.offsets_committed"])
def test_a_zombie_goes_on_after_the_clean_up(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """An attempt that goes on after its run was loaded and cleaned up does no harm, and its load loads nothing."""
    case = duckdb_case
    send_batch(case)
    zombie, retry = OneRun(case), OneRun(case)
    with started_step(zombie, "consume", (crash_dir, point), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        assert retry.finish().loaded == 300
        stopped.send(signal.SIGCONT)
        assert stopped.finish() == 0, stopped.errors()
    accounts = zombie.load()
    assert accounts == retry.accounts
    require_once(zombie, batches=1)


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
@pytest.mark.parametrize("point", ["step-13.copied", "step-13.verified"])
def test_a_zombie_stopped_before_the_lock(case: Case, crash_dir: Path, point: str) -> None:
    """A load that is stopped before it locks the positions holds nobody up; going on, it finds the batch there."""
    send_batch(case)
    run, retry = OneRun(case), OneRun(case)
    run.consume()
    retry.staged = run.staged
    with started_step(run, "load", (crash_dir, point), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        assert retry.load().loaded == 300
        stopped.send(signal.SIGCONT)
        assert stopped.finish() == 0, stopped.errors()
    assert run.accounts == retry.accounts
    require_once(run, batches=1)


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
@pytest.mark.parametrize("point", ["step-14.locked", "step-18.inserted", "step-19.closed"])
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_zombie_stopped_with_the_lock(case: Case, crash_dir: Path, point: str, end: signal.Signals) -> None:
    """A load that is stopped with the positions locked makes the next one wait, until it goes on or is killed."""
    send_batch(case)
    run, retry = OneRun(case), OneRun(case)
    run.consume()
    retry.staged = run.staged
    with started_step(run, "load", (crash_dir, point), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        with started_step(retry, "load") as waiting:
            wait_for("the next attempt to wait for the lock", lambda: waiting_sessions(case) or None)
            stopped.send(end)
            assert stopped.finish() == (0 if end == signal.SIGCONT else -end), stopped.errors()
            assert waiting.finish() == 0, waiting.errors()
    assert retry.accounts.loaded == 300
    require_once(retry, batches=1)


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_zombie_that_never_goes_on(case: Case, crash_dir: Path) -> None:
    """Waiting for a lock that is never given back ends with a sentence; when the zombie is killed the batch loads."""
    place = dataclasses.replace(case.place, extra={"options": "-c lock_timeout=1s"})
    impatient = dataclasses.replace(case, place=place)
    assert (lock_timeout(case), lock_timeout(impatient)) == ("5min", "1s")
    send_batch(case)
    run, retry = OneRun(case), OneRun(impatient)
    run.consume()
    retry.staged = run.staged
    with started_step(run, "load", (crash_dir, "step-18.inserted"), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        with pytest.raises(RetriableError, match="55P03: canceling statement due to lock timeout"):
            retry.load()
        stopped.send(signal.SIGKILL)
        stopped.finish()
    assert retry.load().loaded == 300
    require_once(retry, batches=1)


def lock_timeout(case: Case) -> str:
    """How long a load waits for a lock."""
    with closing(case.warehouse()) as warehouse:
        warehouse.ensure_tables()
        with warehouse.loading() as transaction:
            assert isinstance(transaction, SqlLoad)
            return str(transaction._session.query("SHOW lock_timeout")[0][0])


def waiting_sessions(case: Case) -> int:
    waiting = "wait_event_type = 'Lock' AND state = 'active' AND datname = current_database()"
    return int(query(case.place, f"SELECT COUNT(*) FROM pg_stat_activity WHERE {waiting}")[0][0])


@pytest.mark.fault(11, "goes on")
@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
@pytest.mark.parametrize("point", ["step-13.copied", "step-18.inserted", "step-19.committed"])
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_zombie_stopped_with_the_file(case: Case, crash_dir: Path, point: str, end: signal.Signals) -> None:
    """A load that is stopped with the DuckDB file open makes the next one try again, until it goes on or is killed."""
    send_batch(case)
    run, retry = OneRun(case), OneRun(case)
    run.consume()
    retry.staged = run.staged
    with started_step(run, "load", (crash_dir, point), "SIGSTOP") as stopped:
        stopped.wait_until_stopped()
        with started_step(retry, "load") as waiting:
            wait_for("the next attempt to try again", lambda: "is open in another process" in waiting.errors() or None)
            stopped.send(end)
            assert stopped.finish() == (0 if end == signal.SIGCONT else -end), stopped.errors()
            assert waiting.finish() == 0, waiting.errors()
    assert retry.accounts.loaded == 300
    require_once(retry, batches=1)


@pytest.mark.fault(10, "retried")
@pytest.mark.parametrize("point", ["step-13.copied", "step-18.inserted", "step-19.closed", "step-19.committed"])
def test_told_to_end_while_loading(case: Case, crash_dir: Path, point: str) -> None:
    """A load that SIGTERM ends has committed all or nothing; the next one loads all, or finds that nothing is left."""
    send_batch(case)
    run = OneRun(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, point), "SIGTERM")
    committed = point == "step-19.committed"
    for table, rows in (("user_signups", 300), ("user_signups_dead_letters", 1), ("topicledger_batches", 1)):
        assert count(case.place, table) == (rows if committed else 0)
    assert run.load().loaded == 300
    require_once(run, batches=1)


@pytest.mark.fault(12, "retried")
@pytest.mark.parametrize(
    "point",
    ["step-13.copied", "step-14.locked", "step-17.clipped", "step-18.inserted", "step-19.written", "step-19.closed"],
)
def test_out_of_time_while_loading(case: Case, crash_dir: Path, point: str) -> None:
    """A load that runs into its time limit before COMMIT leaves nothing, and no lock; the next one loads everything."""
    run = out_of_time(case, crash_dir, "load", point)
    for table in ("user_signups", "user_signups_dead_letters", "topicledger_batches"):
        assert count(case.place, table) == 0
    assert run.load().loaded == 300
    require_once(run, batches=1)


@pytest.mark.fault(12, "retried")
def test_out_of_time_after_the_commit(case: Case, crash_dir: Path) -> None:
    """A load that runs into its time limit as soon as COMMIT succeeded has loaded all; the next one changes nothing."""
    run = out_of_time(case, crash_dir, "load", "step-19.committed")
    assert count(case.place, "user_signups") == 300
    assert run.load().loaded == 300
    require_once(run, batches=1)


@pytest.mark.fault(12, "retried")
@pytest.mark.parametrize("point", ["step-04.inside_transaction", *WHILE_STAGING, "step-12.offsets_committed"])
def test_out_of_time_while_consuming(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Consuming that runs into its time limit removes its unfinished files; the next attempt starts anew."""
    case, run = duckdb_case, OneRun(duckdb_case)
    send_batch(case)
    expire(run, crash_dir, "consume", point)
    assert [path for path in case.staged_files() if path.suffix == ".part"] == []
    assert bool(case.staged_files()) == (point in ("step-12.staged", "step-12.offsets_committed"))
    run.consume()
    assert run.load().loaded == 300
    require_once(run, batches=1)


def out_of_time(case: Case, crash_dir: Path, step: str, point: str) -> OneRun:
    send_batch(case)
    run = OneRun(case)
    run.consume()
    expire(run, crash_dir, step, point)
    return run


def expire(run: OneRun, crash_dir: Path, step: str, point: str) -> None:
    """Let Airflow's time limit run out at a point: its handler raises there, as it does in a task."""
    with started_step(run, step, (crash_dir, point), "SIGALRM") as limited:
        assert limited.finish() == 1
        assert "AirflowTaskTimeout" in limited.errors().splitlines()[-1]
