"""The receipt between two tasks: small in every XCom, and never another one than was handed on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from topicledger.errors import IntegrityError, SettingsError
from topicledger.model.plan import OffsetRange, Receipt
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import ManifestHandle
from topicledger.staged_files.receipts import pushed_receipt, received_receipt
from topicledger.staged_files.root import LocalRoot

BATCH = "0123456789abcdef"
PARTITIONS = 50_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir(mode=0o700)
    return folder


def receipt(partitions: int) -> Receipt:
    ranges = tuple(OffsetRange(p, 10**12 + p, 10**12 + p + 1) for p in range(partitions))
    return Receipt("user_signups", "AAAAAAAAAAAAAAAAAAAAAA", "fedcba9876543210", partitions, ranges)


def through_xcom(pushed: object) -> Any:
    return json.loads(json.dumps(pushed))


def received(pushed: object, folder: Path, batch_id: str = BATCH) -> Receipt | None:
    return received_receipt(through_xcom(pushed), LocalRoot(str(folder)), batch_id, expected=True)


@pytest.mark.fault(20, "goes on")
def test_what_travels_is_small_on_a_topic_of_fifty_thousand_partitions(folder: Path) -> None:
    """The receipt of 50,000 partitions travels as a handle below 2 KB, and comes out as it went in."""
    whole = receipt(PARTITIONS)
    pushed = pushed_receipt(whole, LocalRoot(str(folder)), BATCH)
    assert len(json.dumps(pushed)) < 2_000
    assert received(pushed, folder) == whole
    [file] = folder.iterdir()
    assert file.name == f"kafka_staging_{BATCH}.{whole.attempt}.receipt.json"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.fault(20, "goes on")
def test_the_manifests_handle_is_small(folder: Path) -> None:
    """The manifest's handle has the same size whatever the topic, also below a long path."""
    path = f"{folder}/{'x' * 200}/{stem(BATCH)}.manifest.json"
    handle = ManifestHandle(path, "0" * 64, BATCH, "0" * 64)
    assert len(json.dumps(dataclasses.asdict(handle))) < 2_000


def test_a_small_receipt_travels_as_it_is(folder: Path) -> None:
    """Of a few partitions each XCom shows the ranges themselves, and no file is written."""
    small = receipt(20)
    pushed = through_xcom(pushed_receipt(small, LocalRoot(str(folder)), BATCH))
    assert pushed["ranges"][3] == [3, 10**12 + 3, 10**12 + 4]
    assert list(folder.iterdir()) == []
    assert received(pushed, folder) == small


def test_what_travels_is_small_around_the_bound(folder: Path) -> None:
    """With any number of partitions what travels takes at most 2,000 bytes."""
    for partitions in range(30, 90):
        whole = msgspec.structs.replace(receipt(partitions), attempt=f"{partitions:016x}")
        pushed = pushed_receipt(whole, LocalRoot(str(folder)), BATCH)
        assert len(json.dumps(pushed)) <= 2_000
        assert received(pushed, folder) == whole


def test_nothing_was_produced(folder: Path) -> None:
    """A run with nothing to produce has no receipt; one with something to produce must have one."""
    assert received_receipt(None, LocalRoot(str(folder)), BATCH, expected=False) is None
    with pytest.raises(IntegrityError, match=r"`receipt` is missing.*Repeat the run from producing on"):
        received(None, folder)


@pytest.mark.parametrize(
    "pushed", ["text", {}, {"topic": "t"}, {"path": "p"}, {"path": 1, "sha256": "", "batch_id": ""}]
)
def test_what_is_no_receipt_is_refused(folder: Path, pushed: object) -> None:
    """An XCom that is neither a receipt nor its handle is refused, naming the task to clear."""
    with pytest.raises(IntegrityError, match=r"`receipt` was changed.*Repeat the run from producing on"):
        received(pushed, folder)


@pytest.mark.parametrize(
    "path", ["../{name}", "/etc/{name}", "{folder}/../{name}", "{folder}/other", "file://{folder}/{name}"]
)
def test_a_path_outside_the_folder_is_refused(folder: Path, path: str) -> None:
    """A handle never leads out of the staging folder, nor to a name that isn't a staged file's."""
    pushed = pushed_receipt(receipt(PARTITIONS), LocalRoot(str(folder)), BATCH)
    changed = path.format(folder=folder, name=Path(pushed["path"]).name)
    with pytest.raises(SettingsError, match="Repeat the run from producing on"):
        received({**pushed, "path": changed}, folder)


def test_another_runs_receipt_is_refused(folder: Path) -> None:
    """A run doesn't take another run's receipt, whatever its XCom says."""
    pushed = pushed_receipt(receipt(PARTITIONS), LocalRoot(str(folder)), BATCH)
    for batch_id, changed in (("f" * 16, pushed), ("f" * 16, {**pushed, "batch_id": "f" * 16})):
        with pytest.raises(IntegrityError, match=r"this is batch f+"):
            received(changed, folder, batch_id)


def test_a_changed_receipt_is_refused(folder: Path) -> None:
    """A receipt whose bytes aren't those that were written is refused."""
    pushed = pushed_receipt(receipt(PARTITIONS), LocalRoot(str(folder)), BATCH)
    [file] = folder.iterdir()
    file.write_bytes(file.read_bytes().replace(b"50000", b"50001"))
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        received(pushed, folder)


def test_a_receipt_that_is_gone_names_what_to_clear(folder: Path) -> None:
    """A receipt that was cleaned up sends the run back to producing."""
    pushed = pushed_receipt(receipt(PARTITIONS), LocalRoot(str(folder)), BATCH)
    [file] = folder.iterdir()
    file.unlink()
    with pytest.raises(IntegrityError, match=r"is gone: .*staging_dir.* Repeat the run from producing on"):
        received(pushed, folder)


def test_a_link_in_its_place_is_refused(folder: Path, tmp_path: Path) -> None:
    """A symbolic link at the receipt's path isn't followed."""
    pushed = pushed_receipt(receipt(PARTITIONS), LocalRoot(str(folder)), BATCH)
    [file] = folder.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=r"can't be opened as a staged file.*from producing on"):
        received(pushed, folder)
