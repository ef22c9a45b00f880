"""The files that are uploaded to Snowflake, read back with Arrow: every value as it was staged."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.contract.batches import COLUMNS, Batch
from topicledger.errors import IntegrityError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.snowflake import files as snowflake_files
from topicledger.warehouse.snowflake.files import copy_into, parts
from topicledger.warehouse.sql.tables import STAMPED

STAGED = (*COLUMNS, *STAMPED)


def rows_of(batch: Batch) -> io.BytesIO:
    return io.BytesIO(batch.files()["rows"])


def test_values(tmp_path: Path) -> None:
    """NULL and the empty string differ, times are microseconds, dates and decimals text, UUIDs in lower case."""
    low, high = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)
    batch = Batch([OffsetRange(0, 0, 2)])
    batch.row(
        0,
        0,
        "ABCDEF00-1234-5678-9ABC-DEF012345678",
        amount=2**63 - 1,
        ratio=5e-324,
        note="",
        at=high,
        price=Decimal("1E-9"),
    )
    batch.row(0, 1, 1, amount=-(2**63), name='x"\n,', at=low, day=dt.date(1, 1, 1), flag=False, photo="\\x00ff")
    [part] = parts(rows_of(batch), STAGED, 1000, tmp_path)
    assert part.records == 2
    found = parquet.read_table(part.path).to_pydict()
    micros = [253402300799999999, -62135596800000000]
    assert list(found.values()) == [
        ["abcdef00-1234-5678-9abc-def012345678", "00000000-0000-0000-0000-000000000001"],
        [2**63 - 1, -(2**63)],
        [5e-324, None],
        ["n", 'x"\n,'],
        ["", None],
        [True, False],
        micros,
        [None, "0001-01-01"],
        ["1E-9", None],
        [None, None],
        [None, "\\x00ff"],
        [None, None],
        [0, 0],
        [0, 1],
        [None, None],
    ]
    assert list(found) == [f"c{number}" for number in range(15)]
    assert copy_into("t", STAGED, "@s").count("$1:c") == 15


def test_large_files_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is whole when it is given, the next one begins where it ends, and no record is in two."""
    monkeypatch.setattr(snowflake_files, "PART_BYTES", 100_000)
    batch = Batch([OffsetRange(0, 0, 40)])
    for offset in range(40):
        batch.row(0, offset, offset, name=f"{offset:x}" * 200_000)
    offsets, names = [], []
    for part in parts(rows_of(batch), STAGED, 400_000, tmp_path):
        names.append(part.path.name)
        offsets += parquet.read_table(part.path)["c13"].to_pylist()
        part.path.unlink()
    assert offsets == list(range(40))
    assert len(set(names)) == len(names) > 1


def test_nothing_staged_is_no_file(tmp_path: Path) -> None:
    """A file with a header only is read to its end and gives nothing to upload."""
    stream = rows_of(Batch([]))
    assert list(parts(stream, STAGED, 0, tmp_path)) == []
    assert stream.read() == b""


@pytest.mark.parametrize("key", ["not-a-uuid", "{abcdef00-1234-5678-9abc-def012345678}"])
def test_what_is_no_uuid(tmp_path: Path, key: str) -> None:
    """Snowflake has no type that would refuse it, so it is refused here."""
    with pytest.raises(IntegrityError, match="which is no UUID"):
        list(parts(rows_of(Batch([OffsetRange(0, 0, 1)]).row(0, 0, key)), STAGED, 0, tmp_path))
