"""Staged files in S3: whole or not there, created once, taken only as they were staged. On an emulator."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.empty_batch import BATCH, COLUMNS, stage_in
from tests.support.object_store import Fault, ObjectStore
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.s3 import upload
from topicledger.staged_files.folder import stem
from topicledger.staged_files.opened_batch import open_batch
from topicledger.staged_files.root import require_inside
from topicledger.staged_files.s3_root import S3Root
from topicledger.staged_files.writer import PartWriter

TRIES = 3
"""How often the client asks by itself."""

SUFFIXES = ("csv", "dead_letters.csv", "tombstones.csv", "jumps.csv", "part.json", "manifest.json")
STEM = f"kafka_staging_{BATCH}.{'0' * 16}"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder, for this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def root(object_store: ObjectStore, scratch: Path) -> Iterator[S3Root]:
    """An empty root in S3. Whatever a test did there, nothing of it is left on this machine."""
    yield S3Root(*object_store.staging())
    object_store.faults.clear()
    assert list(scratch.iterdir()) == []


def put(store: ObjectStore, root: S3Root, name: str, content: bytes) -> None:
    bucket, _, prefix = root.location.removeprefix("s3://").partition("/")
    store.client().put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=content)


def get(store: ObjectStore, root: S3Root, name: str) -> bytes:
    bucket, _, prefix = root.location.removeprefix("s3://").partition("/")
    content: bytes = store.client().get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
    return content


def test_a_finished_batch_in_s3(root: S3Root, object_store: ObjectStore, scratch: Path) -> None:
    """A batch is written where nobody else may look, and is then six objects, of which the manifest came last."""
    with PartWriter(root, stem(BATCH), COLUMNS):
        (folder,) = scratch.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    before = len(object_store.requests)
    handle = stage_in(root, stem_of=STEM, texts=("a", "b"))
    created = [line.rpartition("/")[2] for line in object_store.requests[before:] if line.startswith("PUT")]
    assert created == [f"{STEM}.{suffix}?" for suffix in SUFFIXES]
    assert handle.path == f"{root.location}/{STEM}.manifest.json"
    with open_batch(root, handle) as batch:
        assert batch.parts[0].rows.read().splitlines()[1].startswith(b'0,"a",')
        batch.verify()
        assert list(scratch.iterdir()) == []


@pytest.mark.fault(105, "stopped")
@pytest.mark.parametrize("in_parts", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["csv", pytest.param("manifest.json", marks=pytest.mark.slow)])
def test_planted_object(
    root: S3Root, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, suffix: str, in_parts: bool
) -> None:
    """What lies under a staged name is neither overwritten nor loaded: the attempt stops and leaves nothing."""
    if in_parts:
        monkeypatch.setattr(upload, "IN_ONE_BYTES", 10)
    other = stage_in(root, stem_of=STEM.replace("0" * 16, "1" * 16)).path.removesuffix("manifest.json") + suffix
    planted = b"x" * len(get(object_store, root, other.rpartition("/")[2]))
    root.clean_up(BATCH)
    put(object_store, root, f"{STEM}.{suffix}", planted)
    with pytest.raises(IntegrityError, match="is there already with other bytes"):
        stage_in(root, stem_of=STEM)
    assert object_store.names(root.location) == []


@pytest.mark.fault(104, "goes on")
def test_a_lost_answer(root: S3Root, object_store: ObjectStore) -> None:
    """When the answer is lost, S3 refuses the repeat: by its digest the object is known as the attempt's own."""
    object_store.faults.append(Fault("PUT", f"{STEM}.csv"))
    require_whole(root, object_store)


@pytest.mark.slow
@pytest.mark.fault(104, "goes on")
@pytest.mark.parametrize("repeat", [None, Fault("POST", "uploadId", status=404, code="NoSuchUpload")])
def test_a_lost_answer_to_parts(
    root: S3Root, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, repeat: Fault | None
) -> None:
    """The same for a file in parts, whether S3 then says that the object is there or that the upload is gone."""
    monkeypatch.setattr(upload, "IN_ONE_BYTES", 10)
    object_store.faults.append(Fault("POST", "uploadId"))
    if repeat is not None:
        object_store.faults.append(repeat)
    require_whole(root, object_store)


def require_whole(root: S3Root, store: ObjectStore) -> None:
    """A batch is staged under these faults, each of which happens once, and can be read."""
    handle = stage_in(root, stem_of=STEM)
    assert {fault.seen for fault in store.faults} == {1}
    with open_batch(root, handle) as batch:
        batch.verify()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "manifest.json"])
def test_an_overloaded_store(root: S3Root, object_store: ObjectStore, suffix: str) -> None:
    """A batch that can't be sent whole is taken back, may be tried again, and then goes through."""
    object_store.faults.append(Fault("PUT", f"{STEM}.{suffix}", status=503, code="SlowDown", times=TRIES))
    with pytest.raises(RetriableError, match="SlowDown"):
        stage_in(root, stem_of=STEM)
    assert object_store.names(root.location) == []
    assert stage_in(root, stem_of=STEM).path.endswith("manifest.json")
    assert len(object_store.names(root.location)) == 6


@pytest.mark.slow
def test_a_file_in_parts(root: S3Root, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file in parts nothing is visible before it is whole; it comes back byte for byte."""
    monkeypatch.setattr(upload, "IN_ONE_BYTES", 1_000_000)
    monkeypatch.setattr(upload, "_PART_BYTES", 5 * 1024 * 1024)
    texts = tuple(os.urandom(500_000).hex() for _ in range(24))
    object_store.faults.append(Fault("PUT", "partNumber=3", status=503, code="SlowDown", times=TRIES))
    with pytest.raises(RetriableError):
        stage_in(root, stem_of=STEM, texts=texts)
    bucket = root.location.removeprefix("s3://").partition("/")[0]
    assert object_store.names(root.location) == []
    assert object_store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    handle = stage_in(root, stem_of=STEM, texts=texts)
    with open_batch(root, handle) as batch:
        assert all(
            text.encode() in line for text, line in zip(texts, batch.parts[0].rows.read().splitlines()[1:], strict=True)
        )
        batch.verify()


@pytest.mark.fault(69, "stopped")
def test_exchanged_object(root: S3Root, object_store: ObjectStore) -> None:
    """Other bytes of the same size are found when they were read, other sizes before anything is fetched."""
    handle = stage_in(root, stem_of=STEM, texts=("a",))
    staged = get(object_store, root, f"{STEM}.csv")
    put(object_store, root, f"{STEM}.csv", staged.replace(b'"a"', b'"b"'))
    with open_batch(root, handle) as batch, pytest.raises(IntegrityError, match="was changed: staged were"):
        batch.verify()
    put(object_store, root, f"{STEM}.csv", staged + b"\n")
    before = len(object_store.requests)
    with pytest.raises(IntegrityError, match=f"there are {len(staged) + 1}"), open_batch(root, handle):
        pass
    assert not [line for line in object_store.requests[before:] if line.startswith("GET") and f"{STEM}.csv" in line]


@pytest.mark.slow
@pytest.mark.fault(70, "stopped")
def test_changed_manifest(root: S3Root, object_store: ObjectStore) -> None:
    """A manifest with other bytes than the handle vouches for is refused."""
    handle = stage_in(root, stem_of=STEM)
    name = f"{STEM}.manifest.json"
    put(object_store, root, name, get(object_store, root, name).replace(b"main.t", b"main.u"))
    with pytest.raises(IntegrityError, match=r"manifest .* was changed"), open_batch(root, handle):
        pass


@pytest.mark.fault(70, "stopped")
def test_a_handle_that_leads_elsewhere(root: S3Root) -> None:
    """No handle names an object outside the root, nor one in it that isn't a staged file."""
    name = f"{STEM}.csv"
    assert require_inside(root, f"{root.location}/{name}") == name
    for path in (
        f"{root.location}/../{name}",
        f"{root.location}/sub/{name}",
        f"{root.location}//{name}",
        f"{root.location}-beside/{name}",
        f"s3://elsewhere/{name}",
        f"/tmp/{name}",
        name,
        f"{root.location}/{name}?versionId=1",
        f"{root.location}/other.csv",
    ):
        with pytest.raises(SettingsError, match="is not a staged file of"):
            require_inside(root, path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != "part.json"])
def test_objects_that_are_gone(root: S3Root, object_store: ObjectStore, suffix: str) -> None:
    """A missing object is a missing file: the load asks the ledger what that means."""
    handle = stage_in(root, stem_of=STEM)
    bucket, _, prefix = root.location.removeprefix("s3://").partition("/")
    object_store.client().delete_object(Bucket=bucket, Key=f"{prefix}/{STEM}.{suffix}")
    with pytest.raises(FileNotFoundError, match=f"{STEM}.{suffix}"), open_batch(root, handle):
        pass


@pytest.mark.slow
@pytest.mark.fault(104, "goes on")
def test_a_fetch_that_breaks_off(root: S3Root, object_store: ObjectStore) -> None:
    """A broken connection is asked again; what stays refused may be tried again."""
    handle = stage_in(root, stem_of=STEM)
    object_store.faults.append(Fault("GET", f"{STEM}.csv"))
    with open_batch(root, handle) as batch:
        batch.verify()
    object_store.faults.append(Fault("GET", f"{STEM}.csv", status=503, code="SlowDown", times=99))
    with pytest.raises(RetriableError, match="SlowDown"), open_batch(root, handle):
        pass


def test_cleaning_up(root: S3Root, object_store: ObjectStore) -> None:
    """Every attempt of the run goes; another run's objects, and whatever isn't ours, stay. A repeat does nothing."""
    kept = [
        f"kafka_staging_{'f' * 16}.{'0' * 16}.csv",
        f"kafka_staging_{BATCH}.{'0' * 16}.csv/inside",
        f"kafka_staging_{BATCH}0.{'0' * 16}.csv",
        f"sub/{STEM}.csv",
        "notes.txt",
    ]
    for name in kept:
        put(object_store, root, name, b"")
    stage_in(root)
    stage_in(root)
    put(object_store, root, f"{STEM}.receipt.json", b"{}")
    assert len(root.clean_up(BATCH)) == 13
    assert sorted(object_store.names(root.location)) == sorted(kept)
    assert root.clean_up(BATCH) == []


def test_cleaning_up_what_is_no_run(root: S3Root, object_store: ObjectStore) -> None:
    """An id that isn't a run's removes nothing."""
    stage_in(root)
    for batch_id in ("", "*", "..", f"{BATCH}/..", f"{BATCH}\n", BATCH[:-1], BATCH.upper()):
        with pytest.raises(SettingsError, match="is no batch id"):
            root.clean_up(batch_id)
    assert len(object_store.names(root.location)) == 6


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3://b",
        "s3:///prefix",
        "s3://bucket//prefix",
        "s3://bucket/../other",
        "s3://bucket/a/./b",
        "s3://bucket/a b",
        "s3://bucket/a?b=c",
        "s3://bucket/*",
        "s3://key:secret@bucket/prefix",
        "S3://bucket/prefix",
    ],
)
def test_roots_that_cannot_be_used(url: str) -> None:
    """A root is a bucket and a plain path, nothing that a store could read as another place."""
    with pytest.raises(SettingsError, match="is not usable: use s3://bucket/prefix"):
        S3Root(url, Connection("staging_default", "aws"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conn_type": "postgres"}, "is of type 'postgres', staging in S3 takes 'aws'"),
        ({"extra": {"host": "x"}}, "its Extra has host, which staging connections don't take here"),
        ({"extra": {"endpoint_url": "no address"}}, "Correct the connection: key, region, endpoint, bucket"),
    ],
)
def test_connections_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    """A connection of another kind, or with keys that nobody would look at, is refused by name, without its secret."""
    fields = {"conn_id": "staging_default", "conn_type": "aws", "login": "key", "password": "pass-phrase"}
    with pytest.raises(SettingsError, match=message) as refused:
        S3Root("s3://bucket/prefix", Connection(**{**fields, **changes}))
    assert "pass-phrase" not in str(refused.value)


def test_a_bucket_that_is_not_there(object_store: ObjectStore, scratch: Path) -> None:
    """Staging stops before the first record when the bucket isn't there, naming it."""
    root = S3Root("s3://no-such-bucket-at-all/prefix", object_store.staging()[1])
    with pytest.raises(SettingsError, match="NoSuchBucket"):
        stage_in(root)
    assert list(scratch.iterdir()) == []
