"""A disk that takes no more: the task says so and leaves nothing; when there is room again, its retry goes through."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.oracle import Oracle
from tests.support.records import Record, sign_ups
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.step_process import started_step
from tests.support.steps import Case, OneRun
from tests.support.topics import wait_for
from topicledger.connection import Connection
from topicledger.errors import RetriableError

pytestmark = pytest.mark.slow


@pytest.fixture
def crash_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


def copied(disk: SmallDisk, folder: Path) -> Connection:
    """A copy of the DuckDB file and its log, which another process has open on a disk that isn't mounted here."""
    folder.mkdir()
    for path in disk.folder.glob("ledger.duckdb*"):
        shutil.copy(path, folder)
    return Connection("warehouse_default", "duckdb", host=str(folder / "ledger.duckdb"))


@contextmanager
def staging_on(case: Case, folder: Path, options: str) -> Iterator[tuple[SmallDisk, Case]]:
    """The case with its staging folder on a small disk."""
    folder.mkdir()
    with small_disk(folder, options) as disk:
        staging = disk.folder / "staging"
        staging.mkdir(mode=0o700)
        yield disk, case.changed(staging_dir=str(staging))


def require_nothing_staged(run: OneRun) -> None:
    """No file, finished or not, no offset committed, no position moved, where the books have begun at all."""
    case = run.case
    assert case.staged_files() == []
    assert case.topics.committed(f"{case.pipeline.name}.{run.batch_id}", case.topic) == {}
    if Path(str(case.place.host)).exists():
        assert {position for (position,) in query(case.place, "SELECT position FROM topicledger_positions")} == {0}


@pytest.mark.fault(68, "retried")
@pytest.mark.parametrize(
    ("full", "said"),
    [
        ("size=256k", "No space left on device .*free space or inodes"),
        ("nr_inodes=4", "No space left on device .*free space or inodes"),
        ("ro", "Read-only file system .*look at the file system"),
    ],
)
def test_a_disk_without_room(duckdb_case: Case, tmp_path: Path, full: str, said: str) -> None:
    """Without blocks, without inodes or read-only: a RetriableError with the errno, and no file is left."""
    duckdb_case.send([*sign_ups(range(3_000), partitions=2), Record(b"{"), Record(None)])
    with staging_on(duckdb_case, tmp_path / "disk", "size=64m") as (disk, case):
        run = OneRun(case)
        disk.remount(full)
        with pytest.raises(RetriableError, match=rf"{said}") as refused:
            run.consume()
        assert "nothing was staged" in str(refused.value)
        require_nothing_staged(run)
        disk.remount("rw,size=64m,nr_inodes=1000")
        assert run.finish().loaded == 3_000
        assert case.staged_files() == []
    duckdb_case.oracle().require_every_record_once()


@pytest.mark.fault(68, "retried")
def test_a_disk_that_is_full_at_any_moment(duckdb_case: Case, tmp_path: Path) -> None:
    """Wherever the room ends, in a header, in the rows or in the manifest, a batch is staged whole or not at all."""
    duckdb_case.send([*sign_ups(range(40), partitions=2), Record(b"{"), Record(None)])
    with staging_on(duckdb_case, tmp_path / "disk", "size=4k") as (disk, case):
        run, page, outcomes = OneRun(case), os.sysconf("SC_PAGE_SIZE"), []
        for pages in range(1, 13):
            disk.remount(f"size={pages * page}")
            try:
                run.consume()
            except RetriableError:
                require_nothing_staged(run)
            else:
                assert len(case.staged_files()) == 6
                run.clean_up()
            outcomes.append(run.staged is not None)
        assert outcomes == sorted(outcomes)
        assert set(outcomes) == {False, True}
        run.finish()
    duckdb_case.oracle().require_every_record_once()


@pytest.mark.fault(68, "retried")
def test_a_disk_that_also_refuses_the_tidying_up(duckdb_case: Case, tmp_path: Path, crash_dir: Path) -> None:
    """Where not even the partial files can be removed, the message still says why staging failed."""
    duckdb_case.send(sign_ups(range(20), partitions=2))
    with staging_on(duckdb_case, tmp_path / "disk", "size=1m") as (disk, case):
        staged = Path(case.pipeline.staging_dir)
        run = OneRun(case)

        def freeze(flag: str) -> None:
            subprocess.run([*disk.within, "chattr", flag, str(disk.mounted / staged.name)], check=True)

        with started_step(run, "consume", (crash_dir, "step-12.synced"), "SIGSTOP") as consume:
            consume.wait_until_stopped()
            freeze("+i")
            consume.send(signal.SIGCONT)
            assert consume.finish() == 1
            assert re.search(r"SettingsError: finishing kafka_staging_.*not permitted: grant", consume.errors())
        assert {path.suffix for path in case.staged_files()} == {".part"}
        freeze("-i")
        run.clean_up()
        run.finish()
        assert case.staged_files() == []
    duckdb_case.oracle().require_every_record_once()


@pytest.mark.fault(68, "retried")
def test_a_warehouse_on_a_full_disk(duckdb_case: Case, tmp_path: Path) -> None:
    """DuckDB finds no room for the batch: nothing of it is there, and once there is room the load goes through."""
    duckdb_case.send([*sign_ups(range(20_000), partitions=2), Record(b"{"), Record(None)])
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        place = Connection("warehouse_default", "duckdb", host=str(disk.mounted / "ledger.duckdb"))
        run = OneRun(dataclasses.replace(duckdb_case, place=place))
        with started_step(run, "consume", within=disk.within) as consume:
            assert consume.finish() == 0, consume.errors()
        disk.leave_free(200_000)
        with started_step(run, "load", within=disk.within) as load:
            wait_for("a first try", lambda: "trying again" in load.errors() or None)
            assert "No space left on device" in load.errors()
            assert f"files are free in {disk.mounted}" in load.errors()
            before = copied(disk, tmp_path / "before")
            for table in ("user_signups", "user_signups_dead_letters", "topicledger_batches"):
                assert count(before, table) == 0
            disk.remount("size=64m")
            assert load.finish() == 0, load.errors()
        oracle = Oracle(duckdb_case.topics, duckdb_case.topic, copied(disk, tmp_path / "after"), "user_signups")
        assert len(oracle.require_every_record_once().rows) == 20_000
