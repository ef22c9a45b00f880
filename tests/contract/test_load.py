"""What a load leaves behind, in every warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.contract.batches import Batch, apply, load, origin, streams
from tests.contract.places import Place
from topicledger.errors import IntegrityError
from topicledger.model.plan import OffsetRange, Position


def batch_of(start: int, end: int, **more: object) -> Batch:
    batch = Batch([OffsetRange(0, start, end)], **more)  # type: ignore[arg-type]
    for offset in range(start, end):
        batch.row(0, offset, offset)
    return batch


def test_a_batch_in_parts(place: Place) -> None:
    """What several readers staged is one batch: of a key in two parts the lowest offset is loaded, the rest counted."""
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 15)], parts=3)
    for offset in range(7):
        batch.row(0, offset, offset % 5)
    batch.dead(0, 7).dead(0, 8).tombstone(0, 9).jump(0, 10, 12, "gap").jump(0, 12, 15, "invisible")
    loaded = load(warehouse, batch)
    assert loaded.staged is not None
    assert (loaded.staged.rows, loaded.staged.dead_letters, loaded.staged.tombstones) == (7, 2, 1)
    accounts = loaded.accounts
    assert (accounts.loaded, accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (5, 2, 2, 1)
    assert (accounts.gap, accounts.invisible) == (2, 3)
    assert [offset for _, offset, _ in rows_of(place)] == list(range(5))


def test_first_load(place: Place) -> None:
    """Rows, dead letters and ledger appear together, and the accounts say what became of each record."""
    warehouse = place.ready()
    origin(warehouse, 0, 1)
    batch = Batch([OffsetRange(0, 0, 6), OffsetRange(1, 0, 0)])
    batch.row(0, 0, 1).row(0, 1, 2).dead(0, 2, b"\xff\x00").tombstone(0, 3)
    batch.jump(0, 4, 5, "gap").jump(0, 5, 6, "invisible")
    done = load(warehouse, batch)
    assert not done.repeated
    a = done.accounts
    assert (a.loaded, a.dead_letters, a.tombstones, a.gap, a.invisible) == (2, 1, 1, 1, 1)
    assert (a.already_loaded, a.duplicates, a.conflicts) == (0, 0, 0)
    assert place.query(
        f"SELECT _batch_id, _kafka_topic_id, _kafka_partition, _kafka_offset FROM {place.schema}.events ORDER BY 4"
    ) == [(batch.batch_id, batch.topic_id, 0, 0), (batch.batch_id, batch.topic_id, 0, 1)]
    assert [p.position for p in warehouse.positions("events")] == [6, 0]


def test_repeat(place: Place) -> None:
    """The same batch once more changes nothing and finds its ledger row."""
    warehouse = place.ready()
    origin(warehouse)
    first = load(warehouse, batch_of(0, 5))
    again = load(warehouse, batch_of(0, 5))
    assert again.repeated
    assert again.accounts == first.accounts
    assert again.row.loaded_at is not None
    assert place.query(f"SELECT COUNT(*) FROM {place.schema}.events") == [(5,)]


@pytest.mark.parametrize("run", ["run-1", "run-2"])
def test_overlap(place: Place, run: str) -> None:
    """What the ledger covers already is counted, not loaded, whatever its kind."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, batch_of(0, 5))
    batch = Batch([OffsetRange(0, 0, 10)], run=run)
    for offset in (0, 1, 5):
        batch.row(0, offset, offset)
    batch.dead(0, 2).dead(0, 6).tombstone(0, 3).tombstone(0, 7)
    batch.jump(0, 4, 5, "invisible").jump(0, 8, 10, "gap")
    a = load(warehouse, batch).accounts
    assert (a.already_loaded, a.loaded, a.dead_letters, a.tombstones) == (4, 1, 1, 1)
    assert (a.gap, a.invisible, a.duplicates) == (2, 0, 0)


def rows_of(place: Place) -> list[tuple[object, ...]]:
    return place.query(f"SELECT _kafka_partition, _kafka_offset, amount FROM {place.schema}.events ORDER BY 1, 2")


def test_leaving_without_commit(place: Place) -> None:
    """A block that ends without commit leaves nothing, and the next load isn't in its way."""
    warehouse = place.ready()
    origin(warehouse)
    batch = batch_of(0, 5, target=warehouse.target).dead(0, 4)
    batch.rows.pop()
    with warehouse.loading() as transaction:
        apply(transaction, batch)
    with pytest.raises(RuntimeError, match="on the way"), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        apply(transaction, batch)
        raise RuntimeError("on the way")
    for table in ("events", "events_dead_letters", "topicledger_batches"):
        assert place.query(f"SELECT COUNT(*) FROM {place.schema}.{table}") == [(0,)]
    assert warehouse.positions("events")[0].position == 0
    assert load(warehouse, batch).accounts.loaded == 4


def test_duplicates_within_a_batch(place: Place) -> None:
    """Of one key the lowest (partition, offset) wins, whatever the order in the file."""
    warehouse = place.ready()
    origin(warehouse, 0, 1)
    batch = Batch([OffsetRange(0, 0, 3), OffsetRange(1, 0, 3)])
    batch.row(1, 0, 7, amount=10).row(0, 2, 7, amount=2).row(0, 1, 7, amount=1).row(1, 1, 8, amount=11)
    batch.row(0, 0, 9, amount=0).row(1, 2, 8, amount=11)
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (3, 3, 2)
    assert rows_of(place) == [(0, 0, 0), (0, 1, 1), (1, 1, 11)]


def test_the_winner_inside_applied(place: Place) -> None:
    """A record before the applied range doesn't take part: it was judged by an earlier batch."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 2)]).tombstone(0, 0).tombstone(0, 1))
    batch = Batch([OffsetRange(0, 0, 4)], run="run-2").row(0, 0, 1, amount=0).tombstone(0, 1)
    batch.row(0, 3, 1, amount=3).row(0, 2, 1, amount=2)
    a = load(warehouse, batch).accounts
    assert (a.already_loaded, a.loaded, a.duplicates, a.conflicts) == (2, 1, 1, 1)
    assert rows_of(place) == [(0, 2, 2)]


def test_duplicates_across_batches(place: Place) -> None:
    """The earlier batch's row stays; the later is counted, and as a conflict only where it differs."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 2, note=None))
    batch = Batch([OffsetRange(0, 2, 6)], run="run-2").row(0, 2, 1).row(0, 3, 2, note="")
    batch.row(0, 4, 1, amount=5).row(0, 5, 3)
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (1, 3, 2)
    assert rows_of(place) == [(0, 0, 1), (0, 1, 1), (0, 5, 1)]


def test_the_same_coordinates_of_another_topic(place: Place) -> None:
    """Coordinates of an older topic_id don't pass for those of the new one."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, batch_of(0, 3))
    again = batch_of(0, 3, run="run-2", topic_id="anotherTopicId")
    warehouse.add_positions([Position("events", "anotherTopicId", 0, 0, 0)])
    a = load(warehouse, again).accounts
    assert (a.loaded, a.duplicates, a.conflicts) == (0, 3, 0)


def test_an_empty_batch(place: Place) -> None:
    """Files with a header only make a ledger row and nothing else."""
    warehouse = place.ready()
    origin(warehouse)
    a = load(warehouse, Batch([OffsetRange(0, 0, 0)])).accounts
    assert (a.records, a.loaded, a.gap, a.invisible) == (0, 0, 0, 0)
    assert len(warehouse.history(10)) == 1


def test_a_plan_without_partitions(place: Place) -> None:
    """No range at all is an empty batch too."""
    warehouse = place.ready()
    assert load(warehouse, Batch([])).accounts.loaded == 0


def test_many_partitions(place: Place) -> None:
    """Hundreds of ranges are one statement."""
    warehouse = place.ready()
    origin(warehouse, *range(300))
    batch = Batch([OffsetRange(p, 0, 2) for p in range(300)])
    for partition in range(300):
        batch.row(partition, 0, partition).row(partition, 1, partition)
    a = load(warehouse, batch).accounts
    assert (a.loaded, a.duplicates) == (300, 300)


def test_staged_counts_find_what_is_wrong(place: Place) -> None:
    """Coordinates that repeat, across kinds too, or lie outside the plan are counted as what they are."""
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 5, 8)]).row(0, 5, 1).row(0, 5, 2).dead(0, 5).tombstone(0, 6)
    batch.row(0, 8, 3).row(0, 4, 4).row(1, 5, 5).dead(2, 0)
    with warehouse.loading() as transaction:
        transaction.copy_staged(batch.manifest(), streams(batch.files()))
        transaction.lock_positions()
        counts = transaction.count_staged(batch.planned)
    assert (counts.rows, counts.dead_letters, counts.tombstones) == (5, 2, 1)
    assert (counts.distinct_coordinates, counts.outside_plan) == (6, 4)


def test_what_lies_outside_the_plan_is_not_loaded(place: Place) -> None:
    """A plan that is applied as a whole is clipped all the same where something lies outside it."""
    warehouse = place.ready()
    origin(warehouse)
    batch = batch_of(0, 3, target=warehouse.target)
    batch.row(0, 7, 7).dead(1, 0)
    with warehouse.loading() as transaction:
        transaction.copy_staged(batch.manifest(), streams(batch.files()))
        transaction.lock_positions()
        transaction.count_staged(batch.planned)
        counts = transaction.apply(batch.manifest(), batch.planned)
    assert (counts.already_loaded, counts.loaded, counts.dead_letters, counts.duplicates) == (2, 3, 0, 0)


def damaged(files: Mapping[str, bytes], name: str, old: bytes, new: bytes) -> dict[str, bytes]:
    assert old in files[name]
    return {**files, name: files[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rows", b'"00000000-0000-0000-0000-000000000001"', b'"not-a-uuid"'),
        ("rows", b",true,", b",maybe,"),
        ("rows", b",true,", b",true"),
        ("rows", b"amount", b"amounts"),
        ("rows", b'"event_id","amount"', b'"amount","event_id"'),
        ("rows", b'"n"', b'"n'),
        ("rows", b'"n"', b'"\xff"'),
        ("rows", b'"n"', b""),
        ("dead_letters", b'"ew=="', b'"e!"'),
        ("dead_letters", b'"{}"', b'"{"'),
        ("tombstones", b"0,2", b"0,x"),
        ("jumps", b"partition", b"p"),
    ],
)
def test_staged_bytes_that_do_not_parse(place: Place, name: str, old: bytes, new: bytes) -> None:
    """Bytes that aren't what they should be stop the load, and nothing of it stays."""
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)]).row(0, 0, 1).dead(0, 1, headers="{}").tombstone(0, 2)
    batch.target = warehouse.target
    files = damaged(batch.files(), name, old, new)
    with pytest.raises(IntegrityError), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        transaction.copy_staged(batch.manifest(), streams(files))
        transaction.lock_positions()
        transaction.apply(batch.manifest(), batch.planned)
        transaction.commit()
    assert rows_of(place) == []


def test_a_stream_that_fails(place: Place) -> None:
    """An error of the stream itself, such as a digest that differs, reaches the caller as it is."""

    class Failing:
        closed = False

        def __init__(self, first: bytes) -> None:
            self.blocks = [first]

        def read(self, _size: int = -1) -> bytes:
            if not self.blocks:
                raise IntegrityError("the digest differs", code="staged-file-changed")
            return self.blocks.pop()

        def readable(self) -> bool:
            return True

        def close(self) -> None:
            self.closed = True

    warehouse = place.ready()
    batch = batch_of(0, 3, target=warehouse.target)
    (files,) = streams(batch.files())
    failing = replace(files, rows=Failing(batch.files()["rows"]))  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match="the digest differs"), warehouse.loading() as transaction:
        transaction.copy_staged(batch.manifest(), [failing])
