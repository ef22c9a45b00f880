"""What only DuckDB can do to us."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.contract.batches import COLUMNS, Batch, load, origin, pipeline
from tests.contract.loader import numbered
from tests.contract.places import Place
from topicledger.columns import Column
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.duckdb.warehouse import DuckdbSession, Memory
from topicledger.warehouse.sql import staged_tables as staged

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


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize("kind", ["duckdb", "fs"])
def test_a_schema_that_is_a_database_too(kind: str, tmp_path: Path) -> None:
    """A schema called as the file, or as a database that DuckDB always has, is refused; another one is fine."""
    settings = Connection("w", kind, host=str(tmp_path / "Sales.duckdb"), extra={})
    if kind == "fs":
        settings = Connection("w", kind, extra={"path": str(tmp_path / "sales")})
    for schema in ("temp", "SYSTEM", *(["sales"] if kind == "duckdb" else [])):
        with pytest.raises(SettingsError, match=f"can't tell from its database {schema.lower()}"):
            open_warehouse(settings, pipeline(f"{schema}.events"))
    for table in ("scratch.events", "main.events", "events"):
        warehouse = open_warehouse(settings, pipeline(table))
        warehouse.ensure_tables()
        with warehouse.loading():
            pass


@pytest.mark.fault(142, "stopped")
@pytest.mark.parametrize("column", ["event_id", "order", "name"])
def test_a_collation_that_takes_different_texts_for_equal(place: Place, column: str) -> None:
    """A column that folds texts together is named: by its key two events would be one."""
    columns = (Column("event_id", "text"), Column("id", "text", nullable=True), Column("order", "text"), COLUMNS[3])
    warehouse = place.ready(columns=columns)
    place.query(f'ALTER TABLE events ALTER "{column}" TYPE VARCHAR COLLATE NOCASE.NOACCENT')
    with pytest.raises(IntegrityError, match=f"declares it: column {column} is VARCHAR COLLATE [^,;]+, not VARCHAR. "):
        warehouse.ensure_tables()


@pytest.mark.fault(78, "stopped")
def test_a_view_in_the_place_of_a_table(place: Place) -> None:
    """A view under a table's name is called what it is."""
    warehouse = place.ready()
    place.query("ALTER TABLE events RENAME TO kept")
    place.query("CREATE VIEW events AS SELECT * FROM kept")
    with pytest.raises(IntegrityError, match=r"main\.events is a view, where a table that keeps its rows is needed"):
        warehouse.ensure_tables()


@pytest.mark.parametrize("host", [None, "", ":memory:", "md:cloud", "s3://bucket/x.duckdb", "relative.duckdb"])
def test_only_local_files(host: str | None) -> None:
    """What isn't a file on a local disk is refused before anything is opened."""
    with pytest.raises(SettingsError):
        open_warehouse(Connection("w", "duckdb", host=host), pipeline())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another kind of file is left alone."""
    file = tmp_path / "notes.txt"
    file.write_text("these are my notes, please keep them" * 200)
    before = file.read_bytes()
    with pytest.raises(SettingsError):
        open_warehouse(Connection("w", "duckdb", host=str(file)), pipeline()).ensure_tables()
    assert file.read_bytes() == before


def test_looking_creates_nothing(tmp_path: Path) -> None:
    """Reading where no run has been yet says so and makes no file."""
    warehouse = open_warehouse(Connection("w", "duckdb", host=str(tmp_path / "x" / "w.db")), pipeline())
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


@pytest.mark.slow
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


def test_the_limit_follows_the_longest_record(place: Place) -> None:
    """Without one in the Extra the limit is small, grows with the longest record, and has an end."""
    # A field of the connection's form that was left empty says as little.
    place.with_extra(memory_limit="").ready()
    session = DuckdbSession(place.settings, Path(str(place.settings.host)), create=False)
    session.execute("CREATE TEMPORARY TABLE copied (n BIGINT)")
    limits = []
    for longest_bytes in (0, 20_000, 5_000_000):
        session.copy("copied", [Column("n", "int64")], io.BytesIO(b'"n"\n1\n'), longest_bytes)
        limits.append(session.query("SELECT current_setting('memory_limit')")[0][0])
    session.close()
    assert limits == ["91.5 MiB", "130.6 MiB", "953.6 MiB"]


def test_a_batch_that_needs_more_gets_it_at_the_next_try(place: Place) -> None:
    """What doesn't fit into the small limit and can't be spilled goes through when it is tried again."""
    place.ready()
    memory = Memory()
    needs_more = "SELECT length(list(i)) FROM range(20_000_000) r(i)"
    for refused in (True, False):
        session = DuckdbSession(place.settings, Path(str(place.settings.host)), memory, create=False)
        if refused:
            with pytest.raises(RetriableError, match="a repeat may use 1,000,000,000"):
                session.query(needs_more)
        else:
            assert session.query(needs_more) == [(20_000_000,)]
        session.close()


def test_many_rows_are_looked_through_in_shares(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of the keys, one after another, find the same duplicates as all keys at once."""
    monkeypatch.setattr(staged, "_ROWS_AT_A_TIME", 7)
    warehouse = place.ready()
    origin(warehouse)
    assert load(warehouse, numbered(0, 40, "first")).accounts.loaded == 40
    batch = Batch([OffsetRange(0, 40, 140)])
    for offset in range(40, 140):
        batch.row(0, offset, offset % 50, name="other" if offset < 100 else "another")
    found = load(warehouse, batch).accounts
    assert (found.loaded, found.duplicates) == (10, 90)


@pytest.mark.parametrize(
    ("extra", "named"),
    [({"memory_limit": "a lot"}, "Memory must"), ({"enable_external_access": "true"}, "enable_external_access")],
)
def test_an_extra_that_does_not_work(place: Place, extra: dict[str, str], named: str) -> None:
    """What the Extra can't change, or a value that DuckDB doesn't know, is a SettingsError."""
    with pytest.raises(SettingsError, match=named):
        place.with_extra(**extra).warehouse().ensure_tables()
