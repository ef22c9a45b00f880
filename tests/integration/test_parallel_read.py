"""A plan that is read by several processes: the same rows and books as by one, and none is left behind."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from tests.support.records import Record, aborted, good, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import RetriableError, SettingsError
from topicledger.model.manifest import Manifest
from topicledger.signups import clean
from topicledger.steps import parallel_read
from topicledger.steps.parallel_read import _Process

FILES = ("rows", "dead_letters", "tombstones", "jumps")


def mixed(case: Case) -> Case:
    """Records of every kind in two partitions, one far larger than the other."""
    case.send(sign_ups(range(40)))
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(100, 110)))
    case.send([Record(good(n, surplus=1), str(n).encode(), 1) for n in range(40, 45)])
    case.send(Record(b"{" + bytes([65 + n])) for n in range(8))
    case.send([Record(None, b"gone"), Record(good(7), b"again")])
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(100, 110)))
    return case


def staged(case: Case, name: str) -> tuple[Manifest, dict[str, list[str]]]:
    """What one run staged: its manifest without run and parts, and the lines of all parts' files, sorted."""
    run = OneRun(case, name)
    run.consume()
    manifest = run.manifest
    folder = run.manifest_path.parent
    assert run.staged is not None
    assert run.staged.rows_path == str(run.manifest_path).replace("manifest.json", "csv")
    assert Path(run.staged.rows_path).name == manifest.parts[0].rows.name
    stems = [part.rows.name.removesuffix(".csv") for part in manifest.parts]
    assert stems == [stems[0], *(f"{stems[0]}.{number}" for number in range(2, len(stems) + 1))]
    lines: dict[str, list[str]] = {of: [] for of in FILES}
    for part in manifest.parts:
        for of in FILES:
            header, *content = (folder / getattr(part, of).name).read_text().splitlines()
            assert len(content) == getattr(part, of).records
            assert header.startswith('"')
            lines[of] += content
    run.clean_up()
    assert case.staged_files() == []
    return msgspec.structs.replace(manifest, batch_id="", run_id="", parts=()), {of: sorted(lines[of]) for of in FILES}


def reading_processes() -> list[str]:
    """The reading processes that this one has."""
    tasks = Path(f"/proc/{os.getpid()}/task")
    children = {pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
    return [pid for pid in children if b"slice_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_the_number_of_processes_changes_nothing(duckdb_case: Case) -> None:
    """One process, two, or five stage the same records, jumps and counts, and find the same leader epochs."""
    case = mixed(duckdb_case)
    alone, rows = staged(case.changed(reading_processes=1), "manual__1")
    assert alone.records == 55
    for count in (2, 5):
        together, lines = staged(case.changed(reading_processes=count), f"manual__{count}")
        assert [lines[of] for of in FILES[:3]] == [rows[of] for of in FILES[:3]]
        assert _offsets(lines["jumps"]) == _offsets(rows["jumps"])
        assert together == alone
    assert reading_processes() == []


def _offsets(jumps: list[str]) -> set[tuple[int, int]]:
    """The offsets of staged jumps; one that lies in two slices is two lines."""
    parted = [line.replace('"', "").split(",") for line in jumps]
    return {(int(one[0]), offset) for one in parted for offset in range(int(one[1]), int(one[2]))}


def test_a_whole_run_in_processes(case: Case) -> None:
    """A run whose records three processes read finds what it produced, closes its books, and repeats to nothing."""
    several = mixed(case).changed(reading_processes=3)
    records = [(str(n).encode(), good(n)) for n in range(200, 230)]
    run = run_steps(several, records=records)
    assert (run.accounts.acked_seen, run.accounts.loaded, run.accounts.dead_letters) == (30, 75, 8)
    assert run_steps(several, "manual__2").accounts.records == 0
    several.oracle().require_every_record_once()


@pytest.mark.fault(5, "retried")
def test_a_killed_reading_process(duckdb_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one of them is killed nothing is staged or committed, the other ends, and the next try stages it all."""
    case = mixed(duckdb_case).changed(reading_processes=2)
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / "step-09.chunk_read").touch()
    monkeypatch.setenv("TOPICLEDGER_CRASH_DIR", str(armed))
    run = OneRun(case)
    with pytest.raises(RetriableError, match=r"ended early, with exit code -9; .* Nothing was staged"):
        run.consume()
    assert case.staged_files() == []
    assert reading_processes() == []
    assert case.topics.committed(f"{case.pipeline.name}.{run.batch_id}", case.topic) == {}
    assert run.finish().records == 55
    case.oracle().require_every_record_once()


@pytest.mark.fault(5, "retried")
def test_a_reading_process_killed_with_its_part_whole(
    duckdb_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole files that the killed one had renamed are removed with those that the other one was still writing."""
    case = mixed(duckdb_case).changed(reading_processes=2)
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / "step-12.files_renamed").touch()
    monkeypatch.setenv("TOPICLEDGER_CRASH_DIR", str(armed))
    with pytest.raises(RetriableError, match="ended early, with exit code -9"):
        OneRun(case).consume()
    assert case.staged_files() == []


def started(monkeypatch: pytest.MonkeyPatch, code: str) -> _Process:
    """A process that does something else than read."""
    monkeypatch.setattr(parallel_read, "_START", code)
    return _Process("a-topic")


def test_a_process_that_ends_within_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was killed while it answered, as the kernel does it for memory, is tried again like any other."""
    code = "import os, pickle; os.write(1, pickle.dumps(('failed', 'x' * 9_000))[:5_000]); os.kill(os.getpid(), 9)"
    process = started(monkeypatch, code)
    with pytest.raises(RetriableError, match=r"a slice of a-topic ended early, with exit code -9"):
        process.answer()
    process.end()


@pytest.mark.slow
def test_a_process_that_says_nothing_more_and_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has lost its pipe and hangs is killed after some seconds, not waited for."""
    process = started(monkeypatch, "import os, time; os.close(1); time.sleep(600)")
    with pytest.raises(RetriableError, match="exit code -9"):
        process.answer()
    process.end()


def test_a_process_that_ends_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was killed before it had its work is tried again like any other."""
    process = started(monkeypatch, "")
    process._process.wait(60)
    with pytest.raises(RetriableError, match="ended early, with exit code 0"):
        process.give(b"work")
    process.end()


def test_a_process_ends_with_the_one_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the task is killed, whatever it had started goes on for no longer than it takes to notice."""
    code = "from topicledger.steps.slice_process import _end_with_the_other; _end_with_the_other()"
    process = started(monkeypatch, code)
    process._input.close()  # as the kernel does for a process that is gone
    assert process._process.wait(60) == 1
    process.end()


def failing_clean(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    """A clean-up with a mistake in it."""
    raise ZeroDivisionError(f"{len(columns)} columns")


def test_an_error_in_a_process_is_the_steps_own(duckdb_case: Case) -> None:
    """What a process raises arrives as itself, with its coordinates and its next step; nothing is staged."""
    case = mixed(duckdb_case).changed(reading_processes=2, clean=failing_clean)
    with pytest.raises(SettingsError, match=r"the clean-up .* failed with ZeroDivisionError: \d+ columns"):
        OneRun(case).consume()
    assert case.staged_files() == []
    assert reading_processes() == []


def test_a_pipeline_that_cannot_travel(duckdb_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """A function of a function, which no other process can have, leaves the reading to this one; the log says so."""

    def own_clean(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
        return clean(columns)

    case = mixed(duckdb_case).changed(reading_processes=2, clean=own_clean)
    with caplog.at_level(logging.INFO):
        assert run_steps(case).accounts.records == 55
    assert any(message.startswith("reading in one process; for several") for message in caplog.messages)


DECLARATION = """
import pathlib, topicledger.signups

def own_clean(columns):
    print("cleaning up", len(columns))
    return topicledger.signups.clean(columns)

with pathlib.Path(__file__).with_suffix(".times").open("a") as times:
    print(__name__, file=times)
"""


def as_airflow_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Import a DAG file under a name that no path leads to."""
    name = f"unusual_prefix_{'0' * 40}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_a_pipeline_of_a_dag_file(
    duckdb_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipeline that is declared in the DAG file itself is read by several processes, which load that file."""
    file = tmp_path / "payments_dag.py"
    file.write_text(DECLARATION)
    module = as_airflow_imports(file, monkeypatch)
    case = mixed(duckdb_case).changed(reading_processes=2, clean=module.own_clean)
    with caplog.at_level(logging.INFO):
        assert run_steps(case).accounts.records == 55
    assert file.with_suffix(".times").read_text().split() == [module.__name__] * 3
    assert "starting 2 processes to read in" in caplog.messages
    assert not any(message.startswith("reading in one process") for message in caplog.messages)
    assert any(message.startswith("cleaning up ") for message in caplog.messages)


def test_a_dag_file_that_is_gone(
    duckdb_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that other processes can't load leaves the reading to this one, with the reason in the log."""
    file = tmp_path / "payments_dag.py"
    file.write_text(DECLARATION)
    module = as_airflow_imports(file, monkeypatch)
    file.unlink()
    case = mixed(duckdb_case).changed(reading_processes=2, clean=module.own_clean)
    with caplog.at_level(logging.INFO):
        assert run_steps(case).accounts.records == 55
    assert any("must be importable: FileNotFoundError: " in message for message in caplog.messages)
    assert reading_processes() == []


def test_processes_end_when_the_task_is_stopped(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this process can't go on, as at the task's time limit, none of the others is left, nor anything staged."""
    case = mixed(duckdb_case).changed(reading_processes=2)

    def interrupted(*_: object) -> None:
        assert len(reading_processes()) == 2
        raise TimeoutError

    monkeypatch.setattr(_Process, "answer", interrupted)
    with pytest.raises(TimeoutError):
        OneRun(case).consume()
    assert reading_processes() == []
    assert case.staged_files() == []


def test_a_process_says_what_it_reads(duckdb_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """What the processes log is in this one's log, under the same names."""
    case = mixed(duckdb_case).changed(reading_processes=2)
    with caplog.at_level(logging.INFO):
        OneRun(case).consume()
    said = [record for record in caplog.records if record.name == "topicledger.kafka.reader"]
    assert len([record for record in said if "0 offsets remaining" in record.getMessage()]) == 2
    assert parallel_read.__name__ in {record.name for record in caplog.records}
