"""What `topicledger check` says of the staging place, of real folders and of a bucket; nothing stays there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command, Ran, connected, problems
from tests.support.object_store import LOGIN, PASSWORD, REGION, Fault, ObjectStore
from tests.support.places import duckdb_file
from tests.support.small_disk import small_disk
from tests.support.steps import Case

LOOK = """
import sys
from topicledger.cli.checks import check_staging
for finding in check_staging(sys.argv[1], None):
    print(finding.kind, finding.text)
"""


@pytest.fixture(autouse=True)
def _warehouse(command: Command, tmp_path: Path) -> None:
    """A warehouse that nothing is wrong with."""
    command.connect_warehouse(duckdb_file(tmp_path))


@pytest.fixture
def bucket(command: Command, object_store: ObjectStore) -> Iterator[str]:
    """A root in a bucket of its own, as the DAG file's constants have it, and its connection."""
    url, _ = object_store.staging()
    connect_staging(command, object_store, "staging_default")
    command.put_dag_file({"staging_dir": url})
    yield url
    object_store.faults.clear()
    assert object_store.names(url) == []


def connect_staging(command: Command, store: ObjectStore, conn_id: str, **fields: str) -> None:
    extra = {"endpoint_url": store.endpoint, "region_name": REGION}
    command.connect(conn_id, {"conn_type": "aws", "login": LOGIN, "password": PASSWORD, "extra": extra, **fields})


def staging_problem(ran: Ran) -> str:
    """The one problem of a check, but for the broker, which isn't connected here."""
    found = [problem for problem in problems(ran) if not problem.startswith("connection kafka_default")]
    assert len(found) == 1, found
    assert PASSWORD not in ran.out + ran.err
    return found[0]


def folder_check(command: Command, folder: Path) -> str:
    command.put_dag_file({"staging_dir": str(folder)})
    return staging_problem(command("check"))


def mortal(folder: Path) -> str:
    """What is found of a folder in a process that file modes hold for, as they don't for root."""
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*without, sys.executable, "-c", LOOK, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_folder(command: Command, duckdb_case: Case, tmp_path: Path) -> None:
    """A folder that a run could use is said with the room in it, and as one machine's; nothing is written there."""
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    before = folder.stat()
    connected(command, duckdb_case, staging_dir=str(folder))
    ran = command("check")
    assert problems(ran) == []
    (said,) = [line for line in ran.out.splitlines() if line.startswith(f"ok       staging: {folder} may be written")]
    free_bytes = int(said.partition("; ")[2].partition(" bytes are free in")[0].replace(",", ""))
    disk = os.statvfs(folder)
    assert 0 < free_bytes <= disk.f_blocks * disk.f_frsize
    assert f"note     staging: {folder} is a folder of this machine: right only where all tasks" in ran.out
    after = folder.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_folders_that_a_run_would_refuse(command: Command, tmp_path: Path) -> None:
    """One that isn't there, one that others could exchange files in, a file: a line with the next step, and no more."""
    missing, shared, file = tmp_path / "missing", tmp_path / "shared", tmp_path / "file"
    shared.mkdir(mode=0o755)
    file.touch()
    for folder in (missing, file):
        assert f"the staging folder {folder} does not exist on this machine: create it" in folder_check(command, folder)
    assert f"`chmod 0700 {shared}`" in folder_check(command, shared)
    assert not missing.exists()


@pytest.mark.slow
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A folder of one's own without the right to write is a problem for a user that file modes hold for."""
    folder = tmp_path / "staging"
    folder.mkdir(mode=0o700)
    assert mortal(folder).startswith(f"ok staging: {folder} may be written")
    folder.chmod(0o500)
    assert mortal(folder).startswith(f"problem this user may not write into the folder {folder}, or its file system")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [("size=64k", "with 0 bytes and"), ("size=1m,nr_inodes=3", " and 0 files left"), ("ro", "is read-only: grant it")],
)
def test_a_folder_without_room(command: Command, tmp_path: Path, options: str, said: str) -> None:
    """A disk without blocks, without inodes or read-only is a problem before a run meets it."""
    mount = tmp_path / "disk"
    mount.mkdir()
    with small_disk(mount, "size=1m") as disk:
        staging = disk.folder / "staging"
        staging.mkdir(mode=0o700)
        (disk.folder / "filling").write_bytes(b"x" * 64 * 1024)
        disk.remount(options)
        assert said in folder_check(command, staging)


@pytest.mark.slow
def test_a_bucket(command: Command, duckdb_case: Case, bucket: str, object_store: ObjectStore) -> None:
    """A bucket that a run could use is said; what it was asked by is gone, and was never a staged file's name."""
    connected(command, duckdb_case, staging_dir=bucket)
    before = len(object_store.requests)
    ran = command("check")
    assert problems(ran) == []
    assert (
        f"ok       staging: {bucket} may be listed, written, read and removed from, and refuses to overwrite;"
        in ran.out
    )
    asked = [line.rpartition("/")[2] for line in object_store.requests[before:] if not line.startswith("GET /case-")]
    assert {name.partition(".")[0] for name in asked} == {"kafka_staging_check"}
    assert object_store.names(bucket) == []
    # The connection's id is the DAG file's, too.
    connect_staging(command, object_store, "lake")
    connected(command, duckdb_case, dag={"staging": "lake"}, staging_dir=bucket)
    connect_staging(command, object_store, "staging_default", conn_type="ftp")
    assert problems(command("check")) == []


@pytest.mark.parametrize(
    ("method", "part", "times", "doing"),
    [
        ("GET", "list-type=2", 9, "listing kafka_staging_"),
        ("DELETE", "kafka_staging_check.", 9, "removing kafka_staging_check."),
        ("PUT", "kafka_staging_check.", 9, "creating kafka_staging_check."),
        ("GET", "kafka_staging_check.", 9, "reading kafka_staging_check."),
    ],
)
def test_a_grant_that_is_missing(
    command: Command, bucket: str, object_store: ObjectStore, method: str, part: str, times: int, doing: str
) -> None:
    """What S3 forbids is named with the grants; where removing is, nothing is put in the first place."""
    object_store.faults.append(Fault(method, part, status=403, code="AccessDenied", times=times))
    before = len(object_store.requests)
    problem = staging_problem(command("check"))
    assert f"connection staging_default, {bucket}: {doing}" in problem
    assert "AccessDenied" in problem
    assert "for staged files s3:DeleteObject granted" in problem
    assert any(line.startswith("PUT") for line in object_store.requests[before:]) == (
        doing[:8] in ("creating", "reading ")
    )


def test_a_bucket_that_ignores_the_condition(command: Command, bucket: str, object_store: ObjectStore) -> None:
    """A store that overwrites what must only be created is told before a run's files rest on it."""
    object_store.faults.append(
        Fault("PUT", "kafka_staging_", status=None, times=9, before=lambda e: e.pop("HTTP_IF_NONE_MATCH", None))
    )
    problem = staging_problem(command("check"))
    assert problem.startswith(f"{bucket} ignores If-None-Match")
    assert problem.endswith("use a store that supports conditional writes [conditional-writes-missing]")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_lost_answer(command: Command, bucket: str, object_store: ObjectStore, method: str) -> None:
    """A lost answer is no problem, and what was put without one is removed, too."""
    object_store.faults.append(Fault(method, "kafka_staging_check."))
    ran = command("check")
    assert f"ok       staging: {bucket} may be listed" in ran.out
    assert object_store.faults[0].seen == 1


def test_a_bucket_that_cant_be_asked(command: Command, object_store: ObjectStore) -> None:
    """No connection, one of another type, no bucket, no usable root: a line each."""
    command.put_dag_file({"staging_dir": "s3://no-such-bucket/staging"})
    assert "connection staging_default is not defined: set AIRFLOW_CONN_STAGING_DEFAULT=" in staging_problem(
        command("check")
    )
    connect_staging(command, object_store, "staging_default", conn_type="ftp")
    assert "is of type 'ftp', staging in S3 takes 'aws'" in staging_problem(command("check"))
    connect_staging(command, object_store, "staging_default")
    assert "NoSuchBucket" in staging_problem(command("check"))
    command.put_dag_file({"staging_dir": "s3://no such bucket"})
    assert "use s3://bucket/prefix" in staging_problem(command("check"))
