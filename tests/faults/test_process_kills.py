"""SIGKILL at each step, on real parts; then the retry, and the oracle counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.looking import count, has_table, query
from tests.support.records import Record, sign_ups
from tests.support.step_process import RECORDS, run_step
from tests.support.steps import Case, OneRun
from topicledger.crash_points import POINTS

pytestmark = pytest.mark.both_databases
EVERY_KEY = True

STEPS = {"produce": range(1, 3), "consume": range(3, 13), "load": range(13, 20), "reconcile": range(20, 21)}
"""The numbered steps of each task."""

MALFORMED = RECORDS // 50


@pytest.fixture
def crash_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


def points_of(task: str) -> list[str]:
    return [point for point in POINTS if int(point[5:7]) in STEPS[task] and point != "step-05.set_back"]


def send_batch(case: Case) -> None:
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None), *sign_ups(range(5))])


def finish_and_require_all(run: OneRun, loaded: int, repeats: int = 5) -> None:
    """Do what is left of the run; all of it is in the warehouse, under one ledger row, and no staged file is left."""
    if run.row is None:
        run.load()
    accounts, case = run.reconcile(), run.case
    assert (accounts.loaded, accounts.duplicates) == case.counted(loaded, repeats)
    run.clean_up()
    assert case.staged_files() == []
    assert count(case.place, "topicledger_batches") == 1
    case.oracle().require_every_record_once()


@pytest.mark.fault(1, "retried")
def test_killed_before_the_first_record(duckdb_case: Case, crash_dir: Path) -> None:
    """Killed before its first record, the retry produces each once, and there is no duplicate."""
    case, run = duckdb_case, OneRun(duckdb_case)
    assert not run_step(run, "produce", (crash_dir, "step-01.before_first_record"))
    assert sum(case.topics.ends(case.topic).values()) == 0
    assert run_step(run, "produce")
    accounts = run.finish()
    assert (accounts.records, accounts.duplicates) == (RECORDS, 0)
    case.oracle().require_every_record_once()


@pytest.mark.fault(2, "counted")
def test_killed_while_producing(duckdb_case: Case, crash_dir: Path) -> None:
    """Killed in the middle of producing, the retry produces everything again, and what was there is duplicates."""
    case, run = duckdb_case, OneRun(duckdb_case)
    assert not run_step(run, "produce", (crash_dir, "step-01.middle"))
    there = sum(case.topics.ends(case.topic).values())
    assert 0 < there < RECORDS
    assert run_step(run, "produce")
    accounts = run.finish()
    assert (accounts.acked, accounts.acked_seen) == (RECORDS, RECORDS)
    assert accounts.records == there + RECORDS
    repeats = there + MALFORMED - accounts.dead_letters
    assert (accounts.loaded, accounts.duplicates) == case.counted(RECORDS - MALFORMED, repeats)
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(3, "counted")
@pytest.mark.parametrize("point", points_of("produce")[2:])
def test_killed_with_everything_acknowledged(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Killed with all records acknowledged and no receipt, the retry produces them again; the first are loaded."""
    case, run = duckdb_case, OneRun(duckdb_case)
    assert not run_step(run, "produce", (crash_dir, point))
    assert run.receipt is None
    assert sum(case.topics.ends(case.topic).values()) == RECORDS
    assert run_step(run, "produce")
    accounts = run.finish()
    assert (accounts.records, accounts.acked, accounts.acked_seen) == (2 * RECORDS, RECORDS, RECORDS)
    loaded = RECORDS - MALFORMED
    assert (accounts.loaded, accounts.duplicates) == case.counted(loaded, loaded)
    assert accounts.dead_letters == 2 * MALFORMED
    case.oracle().require_every_record_once()


@pytest.mark.fault(4, "retried")
@pytest.mark.fault(6, "retried")
@pytest.mark.parametrize("point", ["step-07.planned", "step-04.tables_there", "step-11.chunk_staged", "step-12.staged"])
def test_killed_while_consuming(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Killed while consuming, the retry plans and stages anew, and cleanup removes what the dead attempt left."""
    case, run = duckdb_case, OneRun(duckdb_case)
    send_batch(case)
    assert not run_step(run, "consume", (crash_dir, point))
    assert run.staged is None
    assert Path(str(case.place.host)).exists() == (point in ("step-04.tables_there", "step-12.staged"))
    assert any(path.name.endswith(".manifest.json") for path in case.staged_files()) == (point == "step-12.staged")
    group = f"{case.pipeline.name}.{run.batch_id}"
    assert case.topics.committed(group, case.topic) == {}
    assert run_step(run, "consume")
    finish_and_require_all(run, 300)


@pytest.mark.slow
@pytest.mark.fault(5, "retried")
@pytest.mark.parametrize("point", ["step-11.chunk_staged", "step-12.synced"])
def test_killed_while_writing_staged_files(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Killed before its files are whole, an attempt leaves none under a final name; the retry stages the same rows."""
    case, run, whole = duckdb_case, OneRun(duckdb_case), OneRun(duckdb_case)
    send_batch(case)
    expected = whole.consume()
    whole_files = set(case.staged_files())
    assert not run_step(run, "consume", (crash_dir, point))
    left = set(case.staged_files()) - whole_files
    assert left
    assert {path.suffix for path in left} == {".part"}
    assert run_step(run, "consume")
    assert run.staged is not None
    assert run.staged.handle.plan_id == expected.handle.plan_id
    assert staged_rows(run) == staged_rows(whole)
    finish_and_require_all(run, 300)


def staged_rows(run: OneRun) -> list[bytes]:
    assert run.staged is not None
    return sorted(Path(run.staged.rows_path).read_bytes().splitlines())


@pytest.mark.slow
@pytest.mark.fault(4, "retried")
@pytest.mark.parametrize("point", points_of("consume"))
def test_killed_at_each_point_of_consuming(case: Case, crash_dir: Path, point: str) -> None:
    """Killed at any point of planning, reading or staging, nothing is loaded, and the retry takes what came since."""
    run = OneRun(case)
    run.produce((r.key, r.value) for r in sign_ups(range(100)))
    send_batch(case)
    assert not run_step(run, "consume", (crash_dir, point))
    assert run.staged is None
    assert not has_table(case.place, case.pipeline.table) or count(case.place, case.pipeline.table) == 0
    case.send(sign_ups(range(300, 310), partitions=2))
    assert run_step(run, "consume")
    finish_and_require_all(run, 310, repeats=105)


@pytest.mark.slow
@pytest.mark.parametrize("point", points_of("consume"))
@pytest.mark.fault(4, "retried")
def test_killed_while_a_loss_is_accepted(duckdb_case: Case, crash_dir: Path, point: str) -> None:
    """Killed while it accepts a recreated topic and a gap, the retry of the same run accepts them once."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    before = OneRun(case, "before")
    before.finish()
    topic_id = case.topics.recreate(case.topic, 2)
    case.send(sign_ups(range(10, 30), partitions=2))
    case.topics.delete_records(case.topic, 0, 4)
    accept, run = [f"topic_id:{topic_id}", "gap:0:0:4"], OneRun(case, "accepting")
    assert not run_step(run, "consume", (crash_dir, point), accept=accept)
    assert run_step(run, "consume", accept=accept)
    accounts = run.load()
    assert (accounts.gap, accounts.loaded) == (4, 16)
    run.reconcile()
    run.clean_up()
    assert case.staged_files() == []
    accepted = query(case.place, "SELECT COUNT(*) FROM topicledger_batches WHERE accounts IS NULL")
    assert accepted == [(1,)]


@pytest.mark.fault(7, "retried")
def test_killed_inside_the_load(case: Case, crash_dir: Path) -> None:
    """Killed inside the load's transaction nothing is in the warehouse, and the retry loads everything once."""
    require_loaded_by_the_retry(case, crash_dir, "step-18.inserted")


@pytest.mark.slow
@pytest.mark.fault(7, "retried")
@pytest.mark.parametrize("point", [point for point in points_of("load")[:-1] if point != "step-18.inserted"])
def test_killed_at_each_point_of_the_load(case: Case, crash_dir: Path, point: str) -> None:
    """Killed at any other point before COMMIT nothing is in the warehouse either, and the retry loads it once."""
    require_loaded_by_the_retry(case, crash_dir, point)


def require_loaded_by_the_retry(case: Case, crash_dir: Path, point: str) -> None:
    run = OneRun(case)
    send_batch(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, point))
    for table in ("user_signups", "user_signups_dead_letters", "topicledger_batches"):
        assert count(case.place, table) == 0
    assert query(case.place, "SELECT DISTINCT position FROM topicledger_positions") == [(0,)]
    accounts = run.load()
    assert (accounts.dead_letters, accounts.tombstones) == (1, 1)
    finish_and_require_all(run, 300)


@pytest.mark.fault(8, "nothing to do")
def test_killed_after_the_commit(case: Case, crash_dir: Path) -> None:
    """Killed right after COMMIT everything is in the warehouse; the retry changes nothing and gives the accounts."""
    run = OneRun(case)
    send_batch(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, "step-19.committed"))
    assert count(case.place, "user_signups") == case.counted(300, 5)[0]
    assert count(case.place, "topicledger_batches") == 1
    accounts = run.load()
    assert (accounts.dead_letters, accounts.tombstones) == (1, 1)
    finish_and_require_all(run, 300)


@pytest.mark.slow
@pytest.mark.fault(8, "nothing to do")
@pytest.mark.parametrize("point", points_of("reconcile"))
def test_killed_while_reconciling(case: Case, crash_dir: Path, point: str) -> None:
    """Killed while it closes the books, the retry closes them: nothing but the lag tools' offsets is written there."""
    run = OneRun(case)
    send_batch(case)
    run.consume()
    run.load()
    assert not run_step(run, "reconcile", (crash_dir, point))
    assert run_step(run, "reconcile")
    assert case.topics.committed(case.pipeline.name, case.topic) == case.topics.ends(case.topic)
    finish_and_require_all(run, 300)
