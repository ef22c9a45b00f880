"""Staged files that somebody changed or exchanged between two tasks: the load says so, and nothing is loaded."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, sign_ups
from tests.support.steps import Case, OneRun
from topicledger.errors import IntegrityError, TopicLedgerError

KINDS = ("csv", "dead_letters.csv", "tombstones.csv", "jumps.csv")


@dataclass
class Staged:
    """A staged batch that nothing has loaded, and the files of another run beside it."""

    run: OneRun
    other: OneRun
    files: dict[str, bytes]

    @property
    def folder(self) -> Path:
        return Path(self.run.case.pipeline.staging_dir)

    def path(self, suffix: str = "csv", run: OneRun | None = None) -> Path:
        staged = (run or self.run).staged
        assert staged is not None
        return Path(staged.rows_path.removesuffix("csv") + suffix)

    def restore(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)


@pytest.fixture(scope="module")
def staged_once(module_case: Case) -> Staged:
    case = module_case
    case.send([*sign_ups(range(20), partitions=2), Record(b"{"), Record(b"}"), Record(None), Record(None)])
    run, other = OneRun(case, "manual__1"), OneRun(case, "scheduled__1")
    run.consume()
    other.consume()
    return Staged(run, other, {path.name: path.read_bytes() for path in case.staged_files()})


@pytest.fixture
def staged(staged_once: Staged) -> Iterator[Staged]:
    staged_once.restore()
    before = dataclasses.replace(staged_once.run), dataclasses.replace(staged_once.other)
    yield Staged(*before, staged_once.files)
    staged_once.restore()


def require_refused(run: OneRun, message: str, kind: type[TopicLedgerError] = IntegrityError) -> None:
    """The load refuses, names what to clear, and nothing of the batch is in the warehouse."""
    place = run.case.place
    with pytest.raises(kind, match=message) as refused:
        run.load()
    assert "Repeat the run from planning on" in str(refused.value)
    for table in ("user_signups", "user_signups_dead_letters", "topicledger_batches"):
        assert count(place, table) == 0
    assert {position for (position,) in query(place, "SELECT position FROM topicledger_positions")} == {0}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_a_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x01
    path.write_bytes(content)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.fault(69, "stopped")
@pytest.mark.parametrize("damage", [truncate, cut_a_line, flip_a_bit, append, empty])
@pytest.mark.parametrize("suffix", ["csv", "dead_letters.csv"])
def test_damaged_file(staged: Staged, suffix: str, damage: Callable[[Path], None]) -> None:
    """A file that was cut, flipped or extended is never loaded, not even in part."""
    damage(staged.path(suffix))
    require_refused(staged.run, r"changed|doesn't parse|header|staged file")


@pytest.mark.fault(69, "stopped")
@pytest.mark.parametrize("suffix", ["tombstones.csv", "jumps.csv"])
def test_damaged_companion(staged: Staged, suffix: str) -> None:
    """A companion file that was changed refuses the whole batch."""
    append(staged.path(suffix))
    require_refused(staged.run, "changed|doesn't parse")


@pytest.mark.fault(69, "stopped")
def test_swapped_file(staged: Staged) -> None:
    """A file of another run, with another row, is refused under this run's name."""
    staged.path(run=staged.other).replace(staged.path())
    path = staged.path()
    path.write_bytes(path.read_bytes().replace(b"DE", b"FR", 1))
    require_refused(staged.run, "was changed")


@pytest.mark.fault(70, "stopped")
def test_swapped_manifest(staged: Staged) -> None:
    """Another run's manifest under this run's name is refused."""
    staged.path("manifest.json", staged.other).replace(staged.path("manifest.json"))
    require_refused(staged.run, "manifest .* was changed")


@pytest.mark.fault(71, "stopped")
@pytest.mark.parametrize("suffix", ["csv", "manifest.json"])
def test_symbolic_link(staged: Staged, tmp_path: Path, suffix: str) -> None:
    """A symbolic link is not followed, even to the very bytes that were staged."""
    path = staged.path(suffix)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    require_refused(staged.run, "can't be opened as a staged file")


@pytest.mark.fault(71, "stopped")
@pytest.mark.parametrize("suffix", ["csv", "manifest.json"])
def test_hard_link(staged: Staged, suffix: str) -> None:
    """A file that has a second name, by which it could be changed, is refused."""
    path = staged.path(suffix)
    os.link(path, path.with_name("second"))
    require_refused(staged.run, "not a regular file of this user with one name")


@pytest.mark.fault(71, "stopped")
def test_not_a_file(staged: Staged) -> None:
    """A named pipe in a file's place is refused at once instead of waited for."""
    staged.path().unlink()
    os.mkfifo(staged.path(), 0o600)
    require_refused(staged.run, "not a regular file")


@pytest.mark.fault(70, "stopped")
def test_tampered_manifest(staged: Staged) -> None:
    """A manifest that claims other counts than it was staged with is refused by its digest."""
    path = staged.path("manifest.json")
    manifest = json.loads(path.read_bytes())
    manifest["partitions"][0]["records"] -= 1
    path.write_text(json.dumps(manifest))
    require_refused(staged.run, "manifest .* was changed")


@pytest.mark.fault(25, "stopped")
def test_manifest_of_another_contract(staged: Staged) -> None:
    """A batch that another version of the code staged is refused, naming both versions."""
    require_refused(with_manifest(staged, contract_version=99), "contract version 99")


@pytest.mark.fault(70, "stopped")
def test_manifest_that_names_a_foreign_file(staged: Staged) -> None:
    """A manifest can't make the load open any file but a staged one of its own run."""
    for name in ("../secret", "/etc/passwd", "secret.csv", staged.path(run=staged.other).name):
        (part,) = json.loads(staged.files[staged.path("manifest.json").name])["parts"]
        changed = {**part, "rows": {**part["rows"], "name": name}}
        require_refused(with_manifest(staged, parts=[changed]), "which is no staged file")


@pytest.mark.fault(19, "stopped")
def test_handle_of_another_run(staged: Staged) -> None:
    """A run doesn't load what another run staged, whatever its XCom says."""
    run = dataclasses.replace(staged.run, staged=staged.other.staged)
    require_refused(run, "don't belong to this run")


@pytest.mark.fault(19, "stopped")
def test_rows_of_another_path(staged: Staged) -> None:
    """The CSV's path and the manifest's handle must belong together."""
    assert staged.run.staged is not None
    changed = dataclasses.replace(staged.run.staged, rows_path=str(staged.path(run=staged.other)))
    require_refused(dataclasses.replace(staged.run, staged=changed), "don't belong to this run")


@pytest.mark.fault(70, "stopped")
@pytest.mark.parametrize("path", ["{folder}/../{name}", "/etc/{name}", "{name}", "{folder}/sub/{name}"])
def test_handle_that_leads_elsewhere(staged: Staged, path: str) -> None:
    """A handle can't lead the load out of the staging folder."""
    assert staged.run.staged is not None
    name = staged.path("manifest.json").name
    elsewhere = path.format(folder=staged.folder, name=name)
    handle = dataclasses.replace(staged.run.staged.handle, path=elsewhere)
    rows = elsewhere.removesuffix("manifest.json") + "csv"
    moved = dataclasses.replace(staged.run.staged, handle=handle, rows_path=rows)
    require_refused(dataclasses.replace(staged.run, staged=moved), "is not a staged file of", TopicLedgerError)


def with_manifest(staged: Staged, **changes: object) -> OneRun:
    """Put a changed manifest in place, with a handle that has its digest: as a compromised worker could."""
    assert staged.run.staged is not None
    manifest = {**json.loads(staged.files[staged.path("manifest.json").name]), **changes}
    return staged.run.with_manifest(json.dumps(manifest).encode())


def test_untouched_files_load(duckdb_case: Case) -> None:
    """The same files, untouched, load: nothing but the change made the others fail."""
    duckdb_case.send([*sign_ups(range(20), partitions=2), Record(b"{"), Record(None)])
    run = OneRun(duckdb_case)
    run.consume()
    manifest = json.loads(Path(run.manifest_path).read_bytes())
    rewritten = run.with_manifest(json.dumps(manifest).encode())
    assert rewritten.load().loaded == 20
    duckdb_case.oracle().require_every_record_once()
