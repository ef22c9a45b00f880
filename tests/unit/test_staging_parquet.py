"""Staged Parquet: the CSV that is read from it is the one that would have been staged; nothing unverified is parsed."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.support.empty_batch import BATCH, stage_in
from topicledger.errors import IntegrityError, RetriableError
from topicledger.staged_files import tables
from topicledger.staged_files.folder import is_staged_name, open_staged, stem
from topicledger.staged_files.opened_batch import ManifestHandle, open_batch
from topicledger.staged_files.parquet_stream import ParquetStream
from topicledger.staged_files.root import LocalRoot
from topicledger.staged_files.staged_file import StagedWriter
from topicledger.staged_files.verifying import VerifyingReader

UTC_MICROS = pa.timestamp("us", tz="UTC")
_FIELDS: list[tuple[str, pa.DataType, st.SearchStrategy[Any]]] = [
    ("whole", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    ("part", pa.float64(), st.floats(allow_nan=False)),
    ("exact", pa.decimal128(38, 37), st.decimals(-9, 9, places=37)),
    ("text", pa.string(), st.text()),
    ("yes", pa.bool_(), st.booleans()),
    ("at", UTC_MICROS, st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)),
    ("day", pa.date32(), st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))),
]
SCHEMA = pa.schema([pa.field(name, kind) for name, kind, _ in _FIELDS])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "staging"
    private.mkdir(mode=0o700)
    return private


def columns(draw: Callable[[st.SearchStrategy[Any]], Any], rows: int) -> list[pa.Array[Any]]:
    drawn = [draw(st.lists(st.none() | values, min_size=rows, max_size=rows)) for _, _, values in _FIELDS]
    return [pa.array(values, kind) for values, (_, kind, _) in zip(drawn, _FIELDS, strict=True)]


def staged(
    root: LocalRoot, folder: Path, name: str, chunks: list[list[pa.Array[Any]]]
) -> ParquetStream | VerifyingReader:
    """Write a table in the format that the name ends with; open it as the load does."""
    with root.writing() as place:
        table = tables.WRITERS[name.rpartition(".")[2]](StagedWriter(place, name), SCHEMA)
        for chunk in chunks:
            table.write(chunk)
        file = table.finish()
        assert file.records == sum(len(chunk[0]) for chunk in chunks)
        reader = VerifyingReader(open_staged(place.folder_fd, place.folder, name, "consume"), file)
    (folder / name).unlink()
    return ParquetStream(reader, name) if name.endswith("parquet") else reader


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_same_csv(folder: Path, data: st.DataObject) -> None:
    """Any rows, in any number of chunks and row groups, give byte for byte the CSV that CSV staging writes."""
    chunks = [columns(data.draw, data.draw(st.integers(0, 4))) for _ in range(data.draw(st.integers(0, 4)))]
    root = LocalRoot(str(folder))
    with staged(root, folder, f"{stem(BATCH)}.csv", chunks) as plain:
        expected = plain.read()
    for name in ("csv", "arrow"):
        with staged(root, folder, f"{stem(BATCH)}.parquet", chunks) as stream:
            assert isinstance(stream, ParquetStream)
            if name == "csv":
                assert stream.read() == expected
            else:
                found = stream.record_batches().read_all()
                wanted = [
                    pa.chunked_array([chunk[n] for chunk in chunks], SCHEMA.field(n).type) for n in range(len(SCHEMA))
                ]
                assert found.schema.names == SCHEMA.names
                assert found.columns == wanted
            stream.verify()


def test_row_groups_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither many rows nor wide ones wait in memory for the end of the file."""
    monkeypatch.setattr(tables, "_GROUP_ROWS", 10)
    monkeypatch.setattr(tables, "_GROUP_BYTES", 5_000)
    schema = pa.schema([pa.field("text", pa.string())])
    root, name = LocalRoot(str(folder)), f"{stem(BATCH)}.parquet"
    with root.writing() as place:
        table = tables.ParquetWriter(StagedWriter(place, name), schema)
        for text in ["x"] * 25 + ["y" * 3_000] * 3:
            table.write([pa.array([text])])
        file = table.finish()
    meta = parquet.read_metadata(folder / name)
    assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [10, 10, 7, 1]
    with LocalRoot(str(folder)).reading() as place:
        stream = ParquetStream(VerifyingReader(place.open(name, "consume"), file), name)
    with stream:
        assert stream.record_batches().read_all().num_rows == 28


def stage(folder: Path) -> tuple[ManifestHandle, Path]:
    handle = stage_in(LocalRoot(str(folder)), texts=("a", "b"), staging_format="parquet")
    return handle, Path(handle.path.removesuffix("manifest.json") + "parquet")


def test_a_batch_in_parquet(folder: Path) -> None:
    """The four files have the documented names, and the load takes them by what the manifest says."""
    handle, path = stage(folder)
    assert sorted(p.name.removeprefix(path.name.removesuffix("parquet")) for p in folder.iterdir()) == [
        "dead_letters.parquet",
        "jumps.parquet",
        "manifest.json",
        "parquet",
        "part.json",
        "tombstones.parquet",
    ]
    assert all(is_staged_name(p.name) for p in folder.iterdir())
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        assert batch.parts[0].rows.read().splitlines()[1].startswith(b'0,"a",')
        batch.verify()


@pytest.mark.fault(69, "stopped")
def test_changed_parquet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was changed, even while it is open, is refused before any of it is parsed."""
    monkeypatch.setattr(parquet, "ParquetFile", None)  # parsing would be another error
    handle, path = stage(folder)
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="was changed: staged were"):
            batch.parts[0].rows.read(1)


def test_parquet_that_changes_after_it_was_copied(folder: Path) -> None:
    """What is parsed is what was hashed: a change of the file behind that isn't even seen."""
    handle, path = stage(folder)
    with open_batch(LocalRoot(str(folder)), handle) as batch:
        header = batch.parts[0].rows.read(1)
        path.write_bytes(b"x" * path.stat().st_size)
        assert (header + batch.parts[0].rows.read()).splitlines()[2].startswith(b'1,"b",')


def test_no_room_for_the_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a temporary folder the load may be tried again, with the folder's name in the message."""
    handle, _ = stage(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    with open_batch(LocalRoot(str(folder)), handle) as batch, pytest.raises(RetriableError, match="or set TMPDIR"):
        batch.parts[0].rows.read(1)


def test_what_is_verified_but_no_parquet(folder: Path) -> None:
    """Bytes that a newer writer staged, and this reader doesn't know, stop the load."""
    name = f"{stem(BATCH)}.parquet"
    with LocalRoot(str(folder)).writing() as place:
        writer = StagedWriter(place, name)
        writer.write(b"PAR9" * 100)
        file = writer.finish()
        stream = ParquetStream(VerifyingReader(open_staged(place.folder_fd, place.folder, name, "consume"), file), name)
    with stream, pytest.raises(IntegrityError, match="can't be read as Parquet here"):
        stream.read(1)
