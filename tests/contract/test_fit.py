"""Steps 14 to 17 of the load step itself, in every warehouse: what was staged must fit the ledger as it is now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.batches import TOPIC, TOPIC_ID, Batch, load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from topicledger.errors import IntegrityError
from topicledger.model.ledger import LedgerRow
from topicledger.model.plan import OffsetRange, Position
from topicledger.staged_files.opened_batch import ManifestHandle, OpenedBatch, OpenedPart
from topicledger.staged_files.verifying import VerifyingReader
from topicledger.steps.load import _load
from topicledger.warehouse.contract import Warehouse


@contextmanager
def opened(batch: Batch, folder: Path) -> Iterator[OpenedBatch]:
    """The batch in files, opened as the load step opens them."""
    manifest = batch.manifest()
    with ExitStack() as stack:
        readers: dict[str, Any] = {}
        for name, content in batch.files().items():
            (folder / name).write_bytes(content)
            expected = msgspec.structs.replace(
                getattr(manifest.parts[0], name), size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
            readers[name] = VerifyingReader(os.open(folder / name, os.O_RDONLY), expected)
            stack.callback(readers[name].close)
        yield OpenedBatch(manifest, [OpenedPart(**readers)])


def load_step(warehouse: Warehouse, batch: Batch, folder: Path) -> LedgerRow:
    """What the load step does with this batch."""
    batch = replace(batch, target=batch.target.replace("?", warehouse.target))
    manifest = batch.manifest()
    handle = ManifestHandle(f"{folder}/manifest.json", "0" * 64, manifest.batch_id, manifest.plan_id)
    with opened(batch, folder) as files:
        return _load(warehouse, handle, files)


AT_5 = Position(TOPIC, TOPIC_ID, 0, origin=2, position=5)

CASES = {
    "after the position": (AT_5, numbered(6, 9, "run"), "planned from 6, the ledger is at 5: the warehouse went back"),
    "before the origin": (AT_5, numbered(1, 9, "run"), "planned from 1, the ledger begins at 2: it was made anew"),
    "another generation": (
        msgspec.structs.replace(AT_5, generation=1),
        numbered(5, 9, "run"),
        "the ledger is at generation 1, planned was with 0: it was set back",
    ),
    "another epoch": (
        msgspec.structs.replace(AT_5, leader_epoch=9),
        numbered(2, 9, "run"),
        "at offset 5 the ledger has leader epoch 9, .* the log was truncated between the two reads",
    ),
    "an unknown partition": (AT_5, Batch([OffsetRange(7, 0, 0)]), r"has no position for partitions \[7\]"),
    "another topic id": (AT_5, Batch([OffsetRange(0, 5, 5)], topic_id="other"), r"no position for partitions \[0\]"),
    "another table": (AT_5, Batch([OffsetRange(0, 5, 5)], target="other.events"), "was staged for other.events"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_longer_fits(place: Place, tmp_path: Path, name: str) -> None:
    """A batch that was planned from another ledger than this is refused, and nothing of it is loaded."""
    position, batch, said = CASES[name]
    warehouse = place.ready()
    warehouse.add_positions([position])
    with pytest.raises(IntegrityError, match=said):
        load_step(warehouse, batch, tmp_path)
    assert warehouse.positions(TOPIC) == (position,)
    assert warehouse.history(1) == ()
    assert place.query(f"SELECT COUNT(*) FROM {place.schema}.events") == [(0,)]


def test_a_plan_that_starts_before_the_position(place: Place, tmp_path: Path) -> None:
    """What lies before the position is counted as already loaded, the rest is loaded; a repeat gives its row."""
    warehouse = place.ready()
    origin(warehouse, at=2)
    load_step(warehouse, numbered(2, 5, "run-1"), tmp_path)
    row = load_step(warehouse, numbered(2, 9, "run-2"), tmp_path)
    assert row.accounts is not None
    assert (row.accounts.records, row.accounts.already_loaded, row.accounts.loaded) == (7, 3, 4)
    again = load_step(warehouse, numbered(2, 9, "run-2"), tmp_path)
    assert again.accounts == row.accounts
    (position,) = warehouse.positions(TOPIC)
    assert (position.origin, position.position, position.leader_epoch) == (2, 9, 3)
    assert place.query(f"SELECT COUNT(*) FROM {place.schema}.events") == [(7,)]


def test_a_table_that_vanished(place: Place) -> None:
    """A table that somebody drops while a batch waits is named; the ledger stays as it is."""
    warehouse = place.ready()
    origin(warehouse)
    place.query(f"DROP TABLE {place.schema}.events")
    with pytest.raises(IntegrityError, match="events"):
        load(warehouse, numbered(0, 3, "run"))
    assert warehouse.positions(TOPIC)[0].position == 0
    assert warehouse.history(1) == ()
