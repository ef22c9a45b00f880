"""What files and a log do in a way of their own: in a folder, and in S3."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyarrow import parquet

from tests.contract.batches import COLUMNS, TOPIC, TOPIC_ID, Batch, apply, load, origin, pipeline
from tests.contract.loader import numbered
from tests.contract.places import SQL_ONLY, Place
from tests.contract.test_ledger import acceptance
from topicledger.columns import Column
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import OffsetRange, Position
from topicledger.warehouse.duckdb.errors import as_arrow_said, out_of_memory
from topicledger.warehouse.duckdb.warehouse import Memory
from topicledger.warehouse.lake import parquet as parquet_files
from topicledger.warehouse.lake import scratch
from topicledger.warehouse.lake.folder_store import FolderStore
from topicledger.warehouse.lake.log import Log
from topicledger.warehouse.lake.log_entry import BLOCK, LogEntry, following
from topicledger.warehouse.lake.scratch import opened_scratch
from topicledger.warehouse.sql.dialect import DUCKDB
from topicledger.warehouse.sql.tables import Tables


@pytest.fixture
def place(local_folder_place: Place) -> Place:
    return local_folder_place


def lake(place: Place) -> Path:
    return Path(place.settings.extra["path"])


def entries(place: Place, table: str = "events") -> list[dict[str, Any]]:
    found = sorted((lake(place) / "_topicledger" / f"main.{table}").iterdir())
    return [json.loads(path.read_bytes()) for path in found]


def data_files(place: Place) -> list[Path]:
    return sorted((lake(place) / "events").iterdir())


def test_what_is_left_out_has_its_counterpart() -> None:
    """Each case of the suite that doesn't run here exists, and so does the one in its place."""
    names = [name for path in Path(__file__).parent.glob("test_*.py") for name in path.read_text().split("def ")]
    defined = {name.partition("(")[0] for name in names}
    for case, (_, counterpart) in SQL_ONLY.items():
        assert {case, counterpart} <= defined
        assert counterpart in globals()


def test_a_key_of_an_earlier_batch(place: Place) -> None:
    """It is loaded again and not counted as a duplicate; the view shows the row of the first entry alone."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 2))
    a = load(
        warehouse, Batch([OffsetRange(0, 2, 5)], run="r").row(0, 2, 1, amount=5).row(0, 3, 3).row(0, 4, 3)
    ).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (2, 1, 0)
    shown = place.query("SELECT _kafka_offset, amount FROM main.events ORDER BY 1")
    assert shown == [(0, 1), (1, 1), (3, 1)]
    assert place.query("SELECT _kafka_offset, _sequence FROM main.events_loaded ORDER BY 1") == [
        (0, 3),
        (1, 3),
        (2, 4),
        (3, 4),
    ]


def test_the_same_records_of_another_topic(place: Place) -> None:
    """A recreated topic's records are loaded, and the view keeps those of the first."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run-1"))
    warehouse.add_positions([Position(TOPIC, "anotherTopicId", 0, 0, 0)])
    again = replace(numbered(0, 3, "run-2"), topic_id="anotherTopicId")
    assert load(warehouse, again).accounts.loaded == 3
    assert place.query("SELECT DISTINCT _kafka_topic_id FROM main.events") == [(TOPIC_ID,)]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ([replace(c, type="float64") if c.name == "amount" else c for c in COLUMNS], "column amount is BIGINT"),
        ([replace(c, nullable=False) if c.name == "note" else c for c in COLUMNS], "column note is nullable"),
        ([replace(c, type="decimal(21,2)") if c.name == "amount" else c for c in COLUMNS], "column amount is BIGINT"),
        ([c for c in COLUMNS if c.name != "flag"], "flag is not declared and is NOT NULL"),
        ([*COLUMNS, Column("more", "text")], "column more"),
    ],
)
def test_a_changed_declaration_is_named(place: Place, changed: list[Column], named: str) -> None:
    """A column of another type or nullability, or one that needs a value and was added or dropped, stops the run."""
    place.ready()
    with pytest.raises(IntegrityError, match=named):
        place.warehouse(columns=tuple(changed)).ensure_tables()


def test_a_column_that_is_added_or_dropped(place: Place) -> None:
    """One that may be NULL is NULL in the files without it."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 1)]).row(0, 0, 0, note="before"))
    columns = (*(c for c in COLUMNS if c.name != "note"), Column("added", "text", nullable=True))
    batch = Batch([OffsetRange(0, 1, 2)], run="run-2", columns=columns).row(0, 1, 1)
    del batch.rows[0]["note"]
    batch.rows[0]["added"] = "after"
    load(place.ready(columns=columns), batch)
    assert place.query("SELECT note, added FROM main.events ORDER BY _kafka_offset") == [
        ("before", None),
        (None, "after"),
    ]
    assert [c[0] for c in entries(place)[-1]["columns"]][-1] == "added"


def test_a_log_that_may_not_be_begun(place: Place) -> None:
    """With create_tables=False a place without a log is an error, not a new beginning; nothing is made there."""
    for call in (place.warehouse(create_tables=False).ensure_tables, lambda: place.warehouse().history(1)):
        with pytest.raises(SettingsError, match="there is no ledger at"):
            call()
    assert not lake(place).exists()
    place.ready()
    place.warehouse(create_tables=False).ensure_tables()


def test_a_log_that_vanished(place: Place) -> None:
    """A log that somebody removes while a batch waits stops the load by its place; nothing is begun anew."""
    warehouse = place.ready()
    origin(warehouse)
    shutil.rmtree(lake(place) / "_topicledger")
    with pytest.raises(SettingsError, match=r"there is no ledger at .*main\.events"):
        load(warehouse, Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1))
    assert not (lake(place) / "_topicledger").exists()


def test_an_entry_of_a_newer_version(place: Place) -> None:
    """A log that a later version wrote isn't touched by this one."""
    warehouse = place.ready()
    rewrite(place, 1, version=2)
    with pytest.raises(SettingsError, match="upgrade topicledger"):
        warehouse.ensure_tables()


def rewrite(place: Place, number: int, **changes: Any) -> None:
    path = lake(place) / "_topicledger" / "main.events" / f"{number:020d}.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"positions": 3}, "can't be read"), ({"sequence": 7}, "says that it is entry 7"), ({"target": "x"}, "of x")],
)
def test_an_entry_that_somebody_changed(place: Place, changes: dict[str, Any], said: str) -> None:
    """An entry that isn't what stood there stops every step."""
    warehouse = place.ready()
    rewrite(place, 1, **changes)
    with pytest.raises(IntegrityError, match=said):
        warehouse.positions(TOPIC)


def test_what_an_entry_holds(place: Place) -> None:
    """Every position and running total, the ledger row, and the files by the SHA-256 of their bytes."""
    warehouse = place.ready()
    origin(warehouse, 0, 1)
    load(warehouse, numbered(0, 3, "run-1"))
    load(warehouse, Batch([OffsetRange(0, 3, 4), OffsetRange(1, 0, 1)], run="run-2").row(0, 3, 3).dead(1, 0))
    *_, last = entries(place)
    assert [(p["partition"], p["position"]) for p in last["positions"]] == [(0, 4), (1, 1)]
    assert last["totals"] == [[TOPIC_ID, 0, 4], [TOPIC_ID, 1, 1]]
    assert last["row"]["accounts"]["loaded"] == 1
    assert [(f["kind"], f["records"]) for f in last["files"]] == [("rows", 1), ("dead_letters", 1)]
    (row_file, _) = last["files"]
    content = (lake(place) / "events" / row_file["name"]).read_bytes()
    assert row_file["name"] == f"{hashlib.sha256(content).hexdigest()}.parquet"
    assert row_file["size_bytes"] == len(content)


def test_the_files_types(place: Place) -> None:
    """Real types, NULL only where it is allowed, zstd."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run"))
    for path in data_files(place):
        written = parquet.read_schema(path)
        assert str(written.field("at").type) == "timestamp[us, tz=UTC]"
        assert str(written.field("day").type) == "date32[day]"
        assert str(written.field("_kafka_partition").type) == "int32"
        assert not written.field("amount").nullable
        assert written.field("note").nullable
    metadata = parquet.read_metadata(max(data_files(place), key=lambda path: path.stat().st_size))
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_files_in_the_order_of_the_topic(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However rows were staged, the files hold them by their coordinates: sorted share by share, cut into groups."""
    monkeypatch.setattr(scratch, "_SORTED_ROWS", 3)
    monkeypatch.setattr(parquet_files, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(parquet_files, "ROWS_PER_FILE", 8)
    sizes = {0: 1, 1: 2, 2: 1, 3: 11, 4: 3, 5: 4}
    warehouse = place.ready()
    origin(warehouse, *sizes)
    batch = Batch([OffsetRange(partition, 0, 10 * size) for partition, size in sizes.items()])
    wanted = [(partition, 10 * place + 9) for partition, size in sizes.items() for place in range(size)]
    for number, (partition, offset) in enumerate(sorted(wanted, key=lambda coordinates: hash(coordinates) % 7)):
        batch.row(partition, offset, number)
    for partition, offset in wanted:
        batch.jump(partition, offset - 9, offset, "invisible")
    load(warehouse, batch)
    *_, last = entries(place)
    files = [parquet.ParquetFile(lake(place) / "events" / file["name"]) for file in last["files"]]
    found = [file.read(columns=["_kafka_partition", "_kafka_offset"]).to_pylist() for file in files]
    assert [tuple(row.values()) for rows in found for row in rows] == wanted
    groups = [[file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] for file in files]
    assert groups == [[4, 6], [5, 5], [2]]


_MANY = """
    INSERT INTO main.events BY NAME
    SELECT uuid() AS event_id, range AS amount, {} AS name, TRUE AS flag,
           'b' AS _batch_id, 't' AS _kafka_topic_id, 0 AS _kafka_partition, range AS _kafka_offset
    FROM range(90_000)"""
"""Rows with a name each, in many batches."""


def test_a_sort_that_needs_more_memory(place: Place) -> None:
    """What doesn't fit while rows are read for the files is tried again with more, like a copy that doesn't."""
    tables, memory = Tables(pipeline(), DUCKDB), Memory()
    memory.least_bytes = 16_000_000
    insert = _MANY.format("repeat('n', 500)")
    with opened_scratch(place.settings, tables, memory) as small:
        small.execute(insert)
        with pytest.raises(RetriableError, match="a repeat may use 1,000,000,000"):
            list(small.rows(tables.rows.sql, tables.rows.columns))
    with opened_scratch(place.settings, tables, memory) as larger:
        larger.execute(insert)
        assert sum(batch.num_rows for batch in larger.rows(tables.rows.sql, tables.rows.columns)) == 90_000


def test_a_failure_between_two_batches_of_rows(place: Place) -> None:
    """Arrow hands the rows over and knows only the text of a failure; it is translated all the same."""
    tables = Tables(pipeline(), DUCKDB)
    with opened_scratch(place.settings, tables, Memory()) as stopped:
        stopped.execute(_MANY.format("'n'"))
        batches = stopped.rows(tables.rows.sql, tables.rows.columns)
        assert next(batches).num_rows
        stopped._connection.interrupt()
        with pytest.raises(RetriableError, match="Interrupted"):
            list(batches)
    assert out_of_memory(as_arrow_said(OSError("Out of Memory Error: failed to pin block of size 256.0 KiB")))
    assert not out_of_memory(as_arrow_said(OSError("Out of Memory Error: No space left on device")))


def test_the_loser_of_a_race(place: Place) -> None:
    """Its entry's number is taken, nothing of it is to be seen, and from the new positions it loads the rest."""
    warehouse = place.ready()
    origin(warehouse)
    batch = numbered(0, 5, "slow")
    batch.target = warehouse.target
    with warehouse.loading() as transaction:
        apply(transaction, batch)
        load(warehouse, numbered(0, 3, "fast"))
        with pytest.raises(RetriableError, match="another load wrote entry 3"):
            transaction.commit()
    assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(3,)]
    a = load(warehouse, batch).accounts
    assert (a.already_loaded, a.loaded) == (3, 2)
    assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(5,)]
    (books,) = warehouse.snapshot("", "").partitions
    assert (books.position, books.applied) == (5, 5)
    (note,) = warehouse.audit().notes
    assert note.startswith("1 orphaned files")


def test_files_that_are_not_what_was_counted(place: Place) -> None:
    """The rows in the files, by the files' own count, must be what the accounts say."""
    warehouse = place.ready()
    origin(warehouse)
    batch = numbered(0, 3, "run")
    batch.target = warehouse.target
    with warehouse.loading() as transaction:
        loaded = apply(transaction, batch)
        accounts = msgspec.structs.replace(loaded.accounts, loaded=4)
        transaction.advance([], msgspec.structs.replace(loaded.row, accounts=accounts))
        with pytest.raises(IntegrityError, match="have 3 rows, the accounts have 4"):
            transaction.commit()
    assert len(entries(place)) == 2


def killed(place: Place, folder: Path, point: str, end: int) -> None:
    armed = folder / "crash"
    armed.mkdir(exist_ok=True)
    (armed / point).touch()
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.loader", json.dumps(asdict(place.settings)), "{}", "run", "0", str(end)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TOPICLEDGER_CRASH_DIR": str(armed)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_killed_between_files_and_entry(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are there and in no view; the retry gives the same file, another content leaves an orphan."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tempfile.tempdir = None
    try:
        warehouse = place.ready()
        origin(warehouse)
        killed(place, tmp_path, "step-19.files_written", 20)
        assert len(data_files(place)) == 2
        assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(0,)]
        assert "1 orphaned files" in str(warehouse.audit().notes)
        assert len(list(tmp_path.glob("topicledger_scratch_*"))) == 1
        load(warehouse, numbered(0, 20, "run"))
        assert warehouse.audit().notes == ()
        assert len(data_files(place)) == 2
        assert list(tmp_path.glob("topicledger_scratch_*")) == []
    finally:
        tempfile.tempdir = None


def test_what_the_audit_finds(place: Place) -> None:
    """A file that is gone, totals that don't add up, and an entry that is gone are problems, each named."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run-1"))
    load(warehouse, numbered(3, 5, "run-2"))
    assert (warehouse.audit().notes, warehouse.audit().problems) == ((), ())
    (name,) = (file["name"] for file in entries(place)[-1]["files"])
    kept = (lake(place) / "events" / name).read_bytes()
    (lake(place) / "events" / name).write_bytes(b"short")
    assert f"events/{name}" in warehouse.audit().problems[0]
    (lake(place) / "events" / name).write_bytes(kept)
    rewrite(place, 4, totals=[[TOPIC_ID, 0, 6]])
    (problem,) = warehouse.audit().problems
    assert "carries 6 as applied, all entries add up to 5" in problem
    (lake(place) / "_topicledger" / "main.events" / f"{2:020d}.json").unlink()
    assert "1 of 4 entries" in warehouse.audit().problems[0]


def test_totals_are_no_image_of_the_positions(place: Place) -> None:
    """A total that was falsified, or a position, breaks I4 at the next load, before anything is written."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run-1"))
    rewrite(place, 3, totals=[[TOPIC_ID, 0, 2]])
    with pytest.raises(IntegrityError, match="sum of applied 4 = position 5 - origin 0"):
        load(warehouse, numbered(3, 5, "run-2"))
    assert len(entries(place)) == 3


def test_a_snapshot_is_one_entry(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that commits while a snapshot is read shows in nothing of it."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 10, "first"))
    second = numbered(10, 15, "second")
    honest = Log.find

    def with_a_load_in_between(log: Log, tip: LogEntry, batch_id: str, plan_id: str) -> LedgerRow | None:
        monkeypatch.undo()
        load(place.warehouse(), second)
        return honest(log, tip, batch_id, plan_id)

    monkeypatch.setattr(Log, "find", with_a_load_in_between)
    second.target = warehouse.target
    snapshot = warehouse.snapshot(second.batch_id, second.plan_id)
    assert snapshot.row is None
    assert [books.position for books in snapshot.partitions] == [10]
    assert warehouse.snapshot(second.batch_id, second.plan_id).row is not None


def test_going_back(place: Place) -> None:
    """Without its newest entry the log stands where it stood before, and the same records are loaded again, once."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run-1"))
    load(warehouse, numbered(3, 5, "run-2"))
    (lake(place) / "_topicledger" / "main.events" / f"{4:020d}.json").unlink()
    assert warehouse.positions(TOPIC)[0].position == 3
    assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(3,)]
    assert load(warehouse, numbered(3, 5, "run-3")).accounts.loaded == 2
    assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(5,)]
    assert "1 orphaned files" in str(warehouse.audit().notes)


class Counting(FolderStore):
    """The real store, its requests counted."""

    def __init__(self, path: Path) -> None:
        super().__init__("w", path)
        self.listings, self.reads = 0, 0

    def names(self, folder: str, after: str) -> list[str]:
        self.listings += 1
        return super().names(folder, after)

    def read(self, key: str) -> bytes | None:
        self.reads += 1
        return super().read(key)

    def cost(self) -> tuple[int, int]:
        cost, self.listings, self.reads = (self.listings, self.reads), 0, 0
        return cost


@pytest.fixture
def long_log(place: Place, request: pytest.FixtureRequest) -> tuple[Counting, Log, Path]:
    """A log of many entries, all but three of them repeats of the second under their own numbers."""
    warehouse = place.ready()
    origin(warehouse)
    row = load(warehouse, numbered(0, 1, "run")).row
    folder = lake(place) / "_topicledger" / "main.events"
    entry = msgspec.json.decode((folder / f"{3:020d}.json").read_bytes(), type=LogEntry)
    for number in range(4, request.param + 1):
        own = msgspec.structs.replace(row, batch_id=f"{number:016x}")
        entry = following(entry, writer="w", written_at=entry.written_at, row=own)
        (folder / f"{number:020d}.json").write_bytes(msgspec.json.encode(entry))
    store = Counting(lake(place))
    return store, Log(store, "main.events"), folder


@pytest.mark.parametrize(
    ("long_log", "listings"),
    [(1001, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(999, 1), (1000, 2), (3777, 4), (6500, 7)])],
    indirect=["long_log"],
)
def test_a_long_log_is_read_at_its_end(long_log: tuple[Counting, Log, Path], listings: int) -> None:
    """The newest entry costs a few listings and one read; a batch that isn't there one read for each block."""
    store, log, folder = long_log
    newest = len(list(folder.iterdir()))
    tip = log.require_tip()
    assert tip.sequence == newest
    spent = store.cost()
    assert spent[0] <= listings
    assert spent[1] == 1
    assert log.find(tip, "nobody", "nothing") is None
    assert store.cost() == (0, newest // BLOCK)
    wanted = log.entry(newest // 2)
    assert wanted is not None
    assert wanted.row is not None
    store.cost()
    assert log.find(tip, wanted.row.batch_id, wanted.row.plan_id) == wanted.row
    assert store.cost()[1] <= newest // BLOCK + 1
    newest_rows = [entry.row for entry, _ in zip(log.backwards(tip), range(5), strict=False)]
    assert len(newest_rows) == 5
    assert store.cost()[1] <= 5


@pytest.mark.slow
@pytest.mark.parametrize("long_log", [1500], indirect=True)
def test_a_log_whose_beginning_is_gone(long_log: tuple[Counting, Log, Path]) -> None:
    """It isn't taken for an empty one: the newest entry is found, with all positions and totals."""
    _, log, folder = long_log
    for number in range(1, 1450):
        (folder / f"{number:020d}.json").unlink()
    tip = log.require_tip()
    assert tip.sequence == 1500
    assert tip.books[0].position == 1
    assert log.find(tip, "nobody", "nothing") is None


def test_a_set_back_is_an_entry(place: Place) -> None:
    """An accepted truncation is taken off the running total, and later batches add to it again."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 10, "run-1"))
    (before,) = warehouse.positions(TOPIC)
    after = msgspec.structs.replace(before, position=4, generation=1)
    warehouse.set_back(before, after, acceptance(warehouse, (OffsetRange(0, 10, 4),)))
    assert warehouse.snapshot("", "").partitions == (PartitionBooks(TOPIC_ID, 0, 0, 4, 4),)
    load(warehouse, numbered(4, 6, "run-2"))
    assert warehouse.snapshot("", "").partitions == (PartitionBooks(TOPIC_ID, 0, 0, 6, 6),)


@pytest.mark.parametrize("extra", [{}, {"path": "relative"}, {"path": "/a*b"}, {"path": "/a", "bucket": "b"}])
def test_a_connection_that_does_not_work(place: Place, extra: dict[str, str]) -> None:
    """Only an absolute path without wildcards is taken, and no key that isn't known."""
    with pytest.raises(SettingsError, match="connection warehouse_default"):
        replace(place, settings=replace(place.settings, extra=extra)).warehouse()


def test_a_folder_that_is_no_folder(place: Place) -> None:
    """What lies in the way is left alone."""
    lake(place).write_text("mine")
    with pytest.raises(SettingsError, match="Not a directory"):
        place.ready()
    assert lake(place).read_text() == "mine"


def test_the_scratch_of_a_running_load_is_left_alone(place: Place) -> None:
    """A load that begins while another runs removes nothing of it."""
    tables = Tables(pipeline(), DUCKDB)
    with opened_scratch(place.settings, tables, Memory()) as first:
        with opened_scratch(place.settings, tables, Memory()):
            assert first.folder.exists()
        assert first.query("SELECT COUNT(*) FROM main.events") == [(0,)]
    assert not first.folder.exists()
