"""A plan that is read by several processes: the same rows and books as by one, and none is left behind."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import types
from collections.abc import Mapping
from multiprocessing import Pipe
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
from topicledger.staged_files.tables import CsvWriter
from topicledger.steps.parallel_read import _Process, read_plan

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
    """What one run staged: its manifest without names and digests, and the lines of its files, sorted."""
    run = OneRun(case, name)
    run.consume()
    manifest = run.manifest
    folder = run.manifest_path.parent
    lines = {of: sorted((folder / getattr(manifest, of).name).read_text().splitlines()) for of in FILES}
    nameless = {of: msgspec.structs.replace(getattr(manifest, of), name="", sha256="", block_bytes=0) for of in FILES}
    run.clean_up()
    return msgspec.structs.replace(manifest, batch_id="", run_id="", **nameless), lines


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
    jumps = {of: lines for of, lines in rows.items() if of == "jumps"}
    for count in (2, 5):
        together, lines = staged(case.changed(reading_processes=count), f"manual__{count}")
        assert [lines[of] for of in FILES[:3]] == [rows[of] for of in FILES[:3]]
        assert _offsets(lines["jumps"]) == _offsets(jumps["jumps"])
        assert msgspec.structs.replace(together, jumps=alone.jumps) == alone
    assert reading_processes() == []


def _offsets(jumps: list[str]) -> set[tuple[int, int]]:
    """The offsets of staged jumps; one that lies in two slices is two lines."""
    parted = [line.replace('"', "").split(",") for line in jumps if not line.startswith('"partition"')]
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


def test_a_process_that_ends_within_a_message(tmp_path: Path) -> None:
    """What was killed while it sent, as the kernel does it for memory, is tried again like any other."""
    ours, theirs = Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 1_000) + b"the beginning")
    theirs.close()
    process = _Process("a-topic", ours, subprocess.Popen(["sh", "-c", "kill -9 $$"], cwd=tmp_path))
    with pytest.raises(RetriableError, match=r"a slice of a-topic ended early, with exit code -9"):
        process.receive()
    process.end()


@pytest.mark.slow
def test_a_process_that_says_nothing_more_and_does_not_end(tmp_path: Path) -> None:
    """One that has lost its pipe and hangs is killed after some seconds, not waited for."""
    ours, theirs = Pipe()
    with theirs:
        process = _Process("a-topic", ours, subprocess.Popen(["sleep", "600"], cwd=tmp_path))
    with pytest.raises(RetriableError, match="exit code -9"):
        process.receive()
    process.end()


def test_a_process_that_ends_before_it_begins(tmp_path: Path) -> None:
    """What was killed before it got its job, or before it was let begin, is tried again like any other."""
    for step in (lambda process: process.give(b"job"), _Process.begin):
        ours, theirs = Pipe()
        theirs.close()
        process = _Process("a-topic", ours, subprocess.Popen(["true"], cwd=tmp_path))
        with pytest.raises(RetriableError, match="ended early, with exit code 0"):
            step(process)
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


@pytest.mark.parametrize("known_as", ["a function of a function", "a module that only this process has"])
def test_a_pipeline_that_cannot_travel(
    duckdb_case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known_as: str
) -> None:
    """A pipeline that another process can't import is read by this one, and the log says so."""

    def own_clean(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
        return clean(columns)

    if known_as != "a function of a function":
        # As Airflow imports a DAG file: under a name that no path leads to.
        module = types.ModuleType("unusual_prefix_dag")
        own_clean.__module__, own_clean.__qualname__ = module.__name__, "own_clean"
        module.own_clean = own_clean  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    case = mixed(duckdb_case).changed(reading_processes=2, clean=own_clean)
    with caplog.at_level(logging.INFO):
        assert run_steps(case).accounts.records == 55
    assert any(message.startswith("reading in one process; for several") for message in caplog.messages)
    assert not any(message.startswith("reading in 2") for message in caplog.messages)


def test_processes_end_when_the_writer_fails(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this process can't go on, as on a full disk or at the task's time limit, none of the others is left."""
    case = mixed(duckdb_case).changed(reading_processes=2)

    def interrupted(*_: object) -> None:
        assert len(reading_processes()) == 2
        raise TimeoutError

    monkeypatch.setattr(CsvWriter, "write", interrupted)
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
    assert read_plan.__module__ in {record.name for record in caplog.records}
