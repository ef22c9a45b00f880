"""What reaches the disk before what, and whose files they are."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import pytest

from tests.support.empty_batch import BATCH
from tests.unit.test_staging import stage
from topicledger.errors import IntegrityError, SettingsError
from topicledger.staged_files.folder import open_folder
from topicledger.staged_files.opened_batch import open_batch
from topicledger.staged_files.root import LocalRoot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "staging"
    private.mkdir(mode=0o700)
    return private


def test_files_are_on_disk_before_they_have_their_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is synced, then renamed, a part's own manifest last; then the folder; then the manifest."""
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        fsync(fd)
        done.append(f"sync {Path(f'/proc/self/fd/{fd}').readlink().name}")

    def renamed(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        done.append(f"rename {old}")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    stem = Path(stage(folder).path).name.removesuffix(".manifest.json")
    suffixes = ("csv", "dead_letters.csv", "tombstones.csv", "jumps.csv", "part.json", "manifest.json")
    *part, manifest = ([f"{what} {stem}.{suffix}.part" for what in ("sync", "rename")] for suffix in suffixes)
    whole = f"sync {folder.name}"
    assert done == [*chain(*part), whole, *manifest, whole]


def test_a_folder_of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private folder must be this user's own: its owner could exchange what is staged there."""
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(SettingsError, match="others could exchange staged files"):
        open_folder(str(folder))


def test_a_staged_file_of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sticky folder anybody may make a file under a staged name: one that isn't this user's is refused."""
    handle = stage(folder, BATCH)
    folder.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with (
        pytest.raises(IntegrityError, match="not a regular file of this user"),
        open_batch(LocalRoot(str(folder)), handle),
    ):
        pass
