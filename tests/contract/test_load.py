"""What a load leaves behind, in every warehouse."""

from __future__ import annotations

import pytest

from tests.contract.batches import Batch, load, origin
from tests.contract.places import Place
from topicledger.model.plan import OffsetRange


def batch_of(start: int, end: int, **more: object) -> Batch:
    batch = Batch([OffsetRange(0, start, end)], **more)  # type: ignore[arg-type]
    for offset in range(start, end):
        batch.row(0, offset, offset)
    return batch


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
