"""Staged files: whole or not there at all, private, and opened only as what was staged."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv

from tests.support.empty_batch import BATCH, COLUMNS, NOTHING_READ, PLAN, stage_in
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.plan import OffsetRange
from topicledger.model.slices import Reading
from topicledger.model.tally import Tally
from topicledger.staged_files.folder import is_staged_name, stem
from topicledger.staged_files.opened_batch import ManifestHandle, open_batch, received_handle
from topicledger.staged_files.root import LocalRoot, require_inside
from topicledger.staged_files.staged_file import StagedWriter
from topicledger.staged_files.tables import CsvWriter
from topicledger.staged_files.writer import PartWriter, read_part, removed_unless_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "staging"
    private.mkdir(mode=0o700)
    return private


def stage(folder: Path, batch_id: str = BATCH, **changes: Any) -> ManifestHandle:
    """Stage a batch without records in a folder."""
    return stage_in(LocalRoot(str(folder)), batch_id, **changes)


def test_a_finished_batch(folder: Path) -> None:
    """A finished batch is six private files under one stem, its manifest among them, and nothing temporary."""
    handle = stage(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6
    assert all(is_staged_name(name) for name in names)
    assert {name.split(".")[1] for name in names} == {Path(handle.path).name.split(".")[1]}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        assert batch.manifest.batch_id == BATCH
        assert batch.parts[0].rows.read().startswith(b'"n","text",')
        batch.verify()


@pytest.mark.parametrize("finished", [False, True])
def test_an_unfinished_batch(folder: Path, finished: bool) -> None:
    """An attempt that is left before its manifest is there leaves no file, even when parts of it were finished.

    Another attempt's files stay.
    """
    root, own, other = LocalRoot(str(folder)), stem(BATCH), stage(folder)

    def staging() -> None:
        with (
            removed_unless_whole(root, own),
            PartWriter(root, own, COLUMNS),
            PartWriter(root, f"{own}.2", COLUMNS) as part,
        ):
            assert len(list(folder.iterdir())) == 6 + 4 + 4
            if finished:
                part.finish(NOTHING_READ)
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        staging()
    assert len(list(folder.iterdir())) == 6
    assert Path(other.path).exists()


def test_a_part_of_the_manifest(folder: Path) -> None:
    """What was found of a slice comes back as it was, with its files; changed or gone it is refused."""
    root, tally = LocalRoot(str(folder)), Tally(7, 1)
    tally.add_dead_letters([(0, 5)], ["invalid_json"], ["at line 1"])
    found = Reading((), (OffsetRange(0, 1, 3),), 2, 4, tally)
    with PartWriter(root, f"{stem(BATCH)}.2", COLUMNS) as part:
        handed_on = part.finish(found)
    assert len(msgspec.json.encode(handed_on)) < 300
    read = read_part(root, handed_on)
    assert dataclasses.replace(read, parts=()) == found
    assert read.tally.reasons.most_common() == [("invalid_json", 1)]
    (files,) = read.parts
    assert [(folder / file.name).stat().st_size for file in files.files] == [file.size_bytes for file in files.files]
    assert all(is_staged_name(path.name) for path in folder.iterdir())
    path = folder / handed_on.name
    path.write_bytes(path.read_bytes().replace(b'"acked_seen":4', b'"acked_seen":5'))
    with pytest.raises(IntegrityError, match="was changed"):
        read_part(root, handed_on)
    path.unlink()
    with pytest.raises(RetriableError, match="is gone while its batch is being staged"):
        read_part(root, handed_on)


def test_nothing_has_its_name_before_it_is_whole(folder: Path) -> None:
    """Until it is finished a file is there only under a temporary name, which no reader opens."""
    with LocalRoot(str(folder)).writing() as place:
        writer = StagedWriter(place, f"{stem(BATCH)}.csv")
        writer.write(b"half", 1)
        assert [path.name for path in folder.iterdir()] == [f"{writer.name}.part"]
        assert not is_staged_name(f"{writer.name}.part")
        staged = writer.finish()
        assert [path.name for path in folder.iterdir()] == [writer.name]
        assert (staged.size_bytes, staged.records) == (4, 1)
        assert staged.sha256 == hashlib.sha256(b"half").hexdigest()


@pytest.mark.parametrize("planted", ["file", "link"])
def test_planted_file(folder: Path, planted: str) -> None:
    """What somebody planted under the temporary name is neither written to nor followed."""
    name = f"{stem(BATCH)}.csv"
    victim = folder / "victim"
    victim.write_bytes(b"precious")
    part = folder / f"{name}.part"
    part.write_bytes(b"planted") if planted == "file" else part.symlink_to(victim)
    with LocalRoot(str(folder)).writing() as place, pytest.raises(FileExistsError):
        StagedWriter(place, name)
    assert victim.read_bytes() == b"precious"


def test_no_two_attempts_share_a_name() -> None:
    """Each attempt has a stem of its own, and each name made from it is recognised as staged."""
    stems = {stem(BATCH) for _ in range(100)}
    assert len(stems) == 100
    assert all(is_staged_name(f"{one}.manifest.json") for one in stems)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "passwd",
        "kafka_staging_",
        f"kafka_staging_{BATCH}.csv",
        f"kafka_staging_{BATCH}.{PLAN}.exe",
        f"kafka_staging_{BATCH}.{PLAN}.csv\n",
        f"x/kafka_staging_{BATCH}.{PLAN}.csv",
        f"kafka_staging_{BATCH.upper()}.{PLAN}.csv",
        f"kafka_staging_{BATCH}.{PLAN}.1.csv",
        f"kafka_staging_{BATCH}.{PLAN}.02.csv",
    ],
)
def test_foreign_names(name: str) -> None:
    """Only names in the exact form that staging gives are ever opened."""
    assert not is_staged_name(name)


@pytest.mark.fault(70, "stopped")
@pytest.mark.parametrize(
    "path", ["/etc/{name}", "{folder}/sub/{name}", "{folder}/../{name}", "{name}", "{folder}/passwd", "s3://x/{name}"]
)
def test_paths_outside_the_folder(folder: Path, path: str) -> None:
    """A path that isn't a staged file directly in the folder is refused."""
    given_path = path.format(folder=folder, name=f"kafka_staging_{BATCH}.{PLAN}.csv")
    with pytest.raises(SettingsError, match="is not a staged file of"):
        require_inside(LocalRoot(str(folder)), given_path)


@pytest.mark.fault(71, "stopped")
@pytest.mark.parametrize(
    ("mode", "fine"), [(0o700, True), (0o1777, True), (0o755, False), (0o777, False), (0o770, False)]
)
def test_modes_of_the_folder(folder: Path, mode: int, fine: bool) -> None:
    """A folder must be private or sticky; else the error names its mode and the command that mends it."""
    folder.chmod(mode)
    if fine:
        with LocalRoot(str(folder)).writing():
            return
    with pytest.raises(SettingsError, match=rf"mode {mode:04o}.*chmod 0700"), LocalRoot(str(folder)).writing():
        pass


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that isn't there is a setting to correct, not something to create."""
    with (
        pytest.raises(SettingsError, match="does not exist on this machine"),
        LocalRoot(str(tmp_path / "none")).writing(),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


STAGE_ELSEWHERE = """
import sys
import pyarrow as pa
from topicledger.errors import TopicLedgerError
from topicledger.staged_files.root import LocalRoot
from topicledger.staged_files.writer import PartWriter
try:
    root, columns = LocalRoot(sys.argv[1]), pa.schema([("n", pa.int64())])
    PartWriter(root, "kafka_staging_0123456789abcdef.0123456789abcdef", columns)
except TopicLedgerError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("mode", [0o1555, 0o1000])
def test_no_permission(folder: Path, mode: int) -> None:
    """Where the task's user may not write or look, a person must grant it: the error says so, nothing is left."""
    # Root may do anything whatever the mode says, unless it gives that capability up.
    mortal = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    folder.chmod(mode)
    command = [*mortal, sys.executable, "-c", STAGE_ELSEWHERE, str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    folder.chmod(0o700)
    assert said.startswith("SettingsError")
    assert "Permission denied: grant this user access, or set another folder" in said
    assert list(folder.iterdir()) == []


def test_full_disk(folder: Path) -> None:
    """A disk that is full may pass: the error says so, and names the file, its folder and what is free there."""
    with LocalRoot(str(folder)).writing() as place:
        writer = StagedWriter(place, f"{stem(BATCH)}.csv")
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._fd)
        os.close(full)
        said = (
            rf"writing kafka_staging_.* in {folder}: No space left .*[\d,]+ bytes .*are free in {folder}: .*free space"
        )
        with pytest.raises(RetriableError, match=said):
            writer.write(b"x" * 100_000, 1)
        writer.close()


def test_gone_file(folder: Path) -> None:
    """A file that is gone is told from one that was changed: the caller asks the ledger what that means."""
    handle = stage(folder)
    Path(handle.path.replace(".manifest.json", ".jumps.csv")).unlink()
    with pytest.raises(FileNotFoundError), open_batch(LocalRoot(str(folder)), handle):
        pass


@pytest.mark.fault(69, "stopped")
def test_bytes_that_change_while_they_are_read(folder: Path) -> None:
    """What is verified is what was read, not what the file holds before or after: a change in between is found."""
    handle = stage(folder)
    rows = Path(handle.path.replace(".manifest.json", ".csv"))
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        content = rows.read_bytes()
        rows.write_bytes(content.replace(b"n", b"m"))
        batch.parts[0].rows.read()
        rows.write_bytes(content)
        with pytest.raises(IntegrityError, match="was changed"):
            batch.verify()


@pytest.mark.fault(69, "stopped")
def test_unread_bytes_are_verified(folder: Path) -> None:
    """Bytes that the reader left unread count, so that nothing can be hidden behind what was parsed."""
    handle = stage(folder)
    rows = Path(handle.path.replace(".manifest.json", ".csv"))
    staged = rows.read_bytes()
    rows.write_bytes(staged + b"1,\n")
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        assert batch.parts[0].rows.read(len(staged)) == staged
        for other in batch.parts[0][1:]:
            other.read()
        with pytest.raises(IntegrityError, match="was changed"):
            batch.verify()


def test_manifest_of_another_plan(folder: Path) -> None:
    """A manifest of another plan than the handle's is refused, and both are named."""
    handle = dataclasses.replace(stage(folder), plan_id="0" * 16)
    with pytest.raises(IntegrityError, match=PLAN), open_batch(LocalRoot(str(folder)), handle):
        pass


@pytest.mark.parametrize(
    "pushed",
    [
        None,
        {},
        {"path": 1},
        {"path": "p", "sha256": "s", "batch_id": BATCH},
        {"path": None, "sha256": None, "batch_id": None, "plan_id": None},
        "text",
    ],
)
def test_handles_that_are_none(pushed: Any) -> None:
    """An XCom that isn't a handle is refused, naming the task to clear."""
    with pytest.raises(IntegrityError, match="Repeat the run from planning on"):
        received_handle(BATCH, "p.csv", pushed)


def test_a_handle_survives_json(folder: Path) -> None:
    """A handle that went through an XCom is the handle."""
    handle = stage(folder)
    pushed = msgspec.json.decode(msgspec.json.encode(handle))
    assert received_handle(BATCH, handle.path.removesuffix("manifest.json") + "csv", pushed) == handle
    assert len(msgspec.json.encode(handle)) < 2_000


texts = (
    st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.sampled_from(["", "\r\n", '"', "\\."])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), texts), max_size=8), max_size=3))
def test_any_text_round_trips(folder: Path, batches: list[list[tuple[int, str | None]]]) -> None:
    """Any text, NULL and the empty text come back as they were; sizes, digest and line count are those of the file."""
    with LocalRoot(str(folder)).writing() as place:
        writer = CsvWriter(StagedWriter(place, f"{stem(BATCH)}.csv"), COLUMNS)
        for rows in batches:
            columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(COLUMNS)]
            writer.write(columns)
        staged = writer.file.finish()
    path = folder / staged.name
    content = path.read_bytes()
    path.unlink()
    assert (staged.size_bytes, staged.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    expected = [row for rows in batches for row in rows]
    assert staged.records == len(expected)
    read = csv.read_csv(
        io.BytesIO(content),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=COLUMNS, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    assert [tuple(row.values()) for row in read.to_pylist()] == expected
