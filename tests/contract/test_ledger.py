"""Positions, acceptances and the reading of the books."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.batches import TOPIC, TOPIC_ID, Batch, load, origin
from tests.contract.places import Place
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Acceptance
from topicledger.model.plan import OffsetRange, Position
from topicledger.warehouse.contract import Warehouse


def acceptance(warehouse: Warehouse, applied: tuple[OffsetRange, ...], name: str = "a") -> LedgerRow:
    return LedgerRow(
        batch_id="b",
        plan_id=name,
        pipeline="events_pipeline",
        target=warehouse.target,
        run_id="manual__2026 'quoted'",
        topic=TOPIC,
        topic_id=TOPIC_ID,
        planned=(),
        applied=applied,
        manifest=Acceptance("b", "manual", ("events 0 [5, 10)",)),
        receipt=None,
        accounts=None,
        sha256="",
    )


def batch(start: int, end: int, run: str = "run") -> Batch:
    made = Batch([OffsetRange(0, start, end)], run=run)
    for offset in range(start, end):
        made.row(0, offset, offset)
    return made


def test_positions_are_added_once(place: Place) -> None:
    """Rows whose key exists are left alone, others are added, per topic and topic_id."""
    warehouse = place.ready()
    first = [Position(TOPIC, "one", 0, 5, 5, None, 0), Position(TOPIC, "one", 1, 0, 0, 7, 2)]
    warehouse.add_positions(first)
    warehouse.add_positions([Position(TOPIC, "one", 1, 9, 9), Position(TOPIC, "two", 0, 0, 0)])
    warehouse.add_positions([Position("other", "three", 0, 0, 0)])
    assert warehouse.positions(TOPIC) == (*first, Position(TOPIC, "two", 0, 0, 0))
    assert place.ready("others").positions(TOPIC) == ()


def test_an_acceptance_is_recorded_once(place: Place) -> None:
    """An acceptance comes with the positions, and a repeat changes nothing."""
    warehouse = place.ready()
    for _ in range(2):
        warehouse.add_positions([Position(TOPIC, TOPIC_ID, 0, 0, 0)], acceptance(warehouse, ()))
    (row,) = warehouse.history(10)
    assert row == msgspec.structs.replace(acceptance(warehouse, ()), loaded_at=row.loaded_at)


def test_set_back(place: Place) -> None:
    """An accepted truncation moves the position, raises the generation, and the books still close."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, batch(0, 10))
    (before,) = warehouse.positions(TOPIC)
    after = msgspec.structs.replace(before, position=5, generation=1, leader_epoch=4)
    row = acceptance(warehouse, (OffsetRange(0, 10, 5),))
    warehouse.set_back(before, after, row)
    assert warehouse.positions(TOPIC) == (after,)
    assert warehouse.snapshot("b", "a").partitions == (PartitionBooks(TOPIC_ID, 0, 0, 5, 5),)
    with pytest.raises(RetriableError, match="plan again"):
        warehouse.set_back(before, after, row)
    with pytest.raises(IntegrityError, match="accepted this very truncation"):
        warehouse.set_back(after, msgspec.structs.replace(after, generation=2), row)
    assert warehouse.positions(TOPIC) == (after,)
    assert len(warehouse.history(10)) == 2


def test_history_and_snapshot(place: Place) -> None:
    """Newest first, of this target only; the snapshot has the row asked for and all partitions."""
    warehouse = place.ready()
    origin(warehouse, 0, 1)
    other = place.ready("others")
    origin(other)
    load(other, batch(0, 1))
    rows = [load(warehouse, batch(start, start + 3, f"run-{start}")).row for start in (0, 3, 6)]
    history = warehouse.history(2)
    assert [row.plan_id for row in history] == [rows[2].plan_id, rows[1].plan_id]
    snapshot = warehouse.snapshot(rows[0].batch_id, rows[0].plan_id)
    assert snapshot.row is not None
    assert snapshot.row == msgspec.structs.replace(rows[0], loaded_at=snapshot.row.loaded_at)
    assert snapshot.partitions == (
        PartitionBooks(TOPIC_ID, 0, 0, 9, 9),
        PartitionBooks(TOPIC_ID, 1, 0, 0, 0),
    )
    assert warehouse.snapshot("none", "none").row is None


def test_a_position_row_that_vanished(place: Place) -> None:
    """Advancing a row that isn't there is refused, and nothing is committed."""
    warehouse = place.ready()
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        with pytest.raises(IntegrityError, match="must have one"):
            transaction.advance([Position(TOPIC, TOPIC_ID, 0, 0, 3)], acceptance(warehouse, ()))
    assert warehouse.history(1) == ()


def test_two_hundred_partitions(place: Place) -> None:
    """A first run of many partitions adds and moves each position row, and a second only those of its plan."""
    warehouse = place.ready()
    there = Position(TOPIC, TOPIC_ID, 150, 2**40, 2**40, None, 3)
    warehouse.add_positions([there])
    many = [Position(TOPIC, TOPIC_ID, p, p, p, p % 3 or None) for p in range(200)]
    warehouse.add_positions([*reversed(many), Position(TOPIC, "another", 7, 1, 1, 9)])
    of_topic = {p.partition: p for p in warehouse.positions(TOPIC) if p.topic_id == TOPIC_ID}
    assert of_topic == {p.partition: p for p in many} | {150: there}
    moved = [
        msgspec.structs.replace(p, position=p.position + 2**33, leader_epoch=p.partition % 2 or None) for p in many
    ]
    moved[150] = msgspec.structs.replace(there, position=2**41, leader_epoch=7)
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        with pytest.raises(IntegrityError, match="partition 200"):
            transaction.advance([*moved, Position(TOPIC, TOPIC_ID, 200, 0, 1)], acceptance(warehouse, ()))
    assert {p.partition: p for p in warehouse.positions(TOPIC) if p.topic_id == TOPIC_ID} == of_topic
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        transaction.advance(moved[100:], acceptance(warehouse, ()))
        transaction.commit()
    assert warehouse.positions(TOPIC) == (*many[:100], *moved[100:], Position(TOPIC, "another", 7, 1, 1, 9))


def test_closing_twice(place: Place) -> None:
    """A repeat of close does nothing."""
    warehouse = place.ready()
    warehouse.close()
    warehouse.close()
