"""What only DuckDB can do to us."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.contract.batches import Batch, load, origin, pipeline
from tests.contract.loader import numbered
from tests.contract.places import Place
from topicledger.errors import RetriableError, SettingsError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.connect import open_warehouse
from topicledger.warehouse.contract import WarehouseSettings

HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


@pytest.fixture
def place(duckdb_file_place: Place) -> Place:
    return duckdb_file_place


@pytest.mark.fault(76, "retried")
def test_a_file_that_another_process_has_open(place: Place) -> None:
    """The holder is named by its process id; once it is gone, the load works."""
    warehouse = place.ready()
    origin(warehouse)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.settings.host)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        with pytest.raises(RetriableError, match=f"PID {holder.pid}"):
            load(warehouse, numbered(0, 3, "run"))
        holder.communicate(b"")
    assert load(warehouse, numbered(0, 3, "run")).accounts.loaded == 3


def test_others_may_open_the_file_between_calls(place: Place) -> None:
    """No call leaves the file open, and after a load there is one file, the log written into it."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run"))
    file = Path(str(place.settings.host))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    counted = "import duckdb, sys; print(duckdb.connect(sys.argv[1]).execute('FROM events').fetchall().__len__())"
    done = subprocess.run(
        [sys.executable, "-c", counted.replace("FROM events", "SELECT 1 FROM events"), str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"


def test_a_connection_of_this_process_with_other_options(place: Place) -> None:
    """DuckDB refuses to open a file twice with different options: that passes, so try again."""
    warehouse = place.ready()
    with duckdb.connect(str(place.settings.host)), pytest.raises(RetriableError):
        warehouse.positions("events")


@pytest.mark.parametrize("host", [None, "", ":memory:", "md:cloud", "s3://bucket/x.duckdb", "relative.duckdb"])
def test_only_local_files(host: str | None) -> None:
    """What isn't a file on a local disk is refused before anything is opened."""
    with pytest.raises(SettingsError):
        open_warehouse(WarehouseSettings("w", "duckdb", host=host), pipeline())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another kind of file is left alone."""
    file = tmp_path / "notes.txt"
    file.write_text("these are my notes, please keep them" * 200)
    before = file.read_bytes()
    with pytest.raises(SettingsError):
        open_warehouse(WarehouseSettings("w", "duckdb", host=str(file)), pipeline()).ensure_tables()
    assert file.read_bytes() == before


def test_looking_creates_nothing(tmp_path: Path) -> None:
    """Reading where no run has been yet says so and makes no file."""
    warehouse = open_warehouse(WarehouseSettings("w", "duckdb", host=str(tmp_path / "x" / "w.db")), pipeline())
    with pytest.raises(SettingsError, match="there is no DuckDB file"):
        warehouse.history(1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["main", "temp", "system", "events", "public", "with space", "ünïcode", "memory"])
def test_any_file_name(place: Place, tmp_path: Path, name: str) -> None:
    """The database's name comes from the file's; none of them is confused with a schema or a table."""
    named = replace(place, settings=replace(place.settings, host=str(tmp_path / f"{name}.duckdb")))
    warehouse = named.ready()
    origin(warehouse)
    a = load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 1)).accounts
    assert (a.loaded, a.duplicates) == (1, 1)
    assert warehouse.history(1)


def test_more_than_its_memory(place: Place) -> None:
    """What doesn't fit into the memory limit is spilled beside the file, and removed."""
    small = place.with_extra(memory_limit="60MB")
    warehouse = small.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 8_000)])
    for offset in range(8_000):
        batch.row(0, offset, offset, name=os.urandom(5_000).hex())
    assert load(warehouse, batch).accounts.loaded == 8_000
    file = Path(str(place.settings.host))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("extra", "named"),
    [({"memory_limit": "a lot"}, "Memory must"), ({"enable_external_access": "true"}, "enable_external_access")],
)
def test_an_extra_that_does_not_work(place: Place, extra: dict[str, str], named: str) -> None:
    """What the Extra can't change, or a value that DuckDB doesn't know, is a SettingsError."""
    with pytest.raises(SettingsError, match=named):
        place.with_extra(**extra).warehouse().ensure_tables()
