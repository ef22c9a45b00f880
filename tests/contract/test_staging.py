"""The staging folder's own readers feed the warehouses: what is copied is what is hashed, and can be verified after."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pytest

from tests.contract.batches import Batch, load, origin
from tests.contract.places import Place
from topicledger.errors import IntegrityError
from topicledger.model.manifest import StagedFile
from topicledger.model.plan import OffsetRange
from topicledger.staged_files.verifying import VerifyingReader
from topicledger.warehouse.contract import StagedStreams


def opened(stack: ExitStack, folder: Path, files: dict[str, bytes], damage: str) -> dict[str, VerifyingReader]:
    readers = {}
    for name, staged in files.items():
        path = folder / name
        path.write_bytes(staged + (b"0,1\n" if name == damage else b""))
        expected = StagedFile(name, len(staged), hashlib.sha256(staged).hexdigest(), 0, len(staged))
        readers[name] = VerifyingReader(os.open(path, os.O_RDONLY), expected)
        stack.callback(readers[name].close)
    return readers


@pytest.mark.parametrize("damage", ["", "tombstones"])
def test_verified_after_it_was_copied(place: Place, tmp_path: Path, damage: str) -> None:
    """After the copy every stream is at its end, still open, and its digest tells a changed file."""
    warehouse = place.ready()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)]).row(0, 0, 1).row(0, 1, 2).dead(0, 2)
    batch.target = warehouse.target
    with ExitStack() as stack:
        readers = opened(stack, tmp_path, batch.files(), damage)
        streams = StagedStreams(**{name: cast("BinaryIO", reader) for name, reader in readers.items()})
        with warehouse.loading() as transaction:
            transaction.copy_staged(batch.manifest(), [streams])
            for name, reader in readers.items():
                assert not reader.read(1)
                if name == damage:
                    with pytest.raises(IntegrityError, match="was changed"):
                        reader.verify()
                else:
                    reader.verify()


def test_looking_for_a_batch_whose_files_are_gone(place: Place) -> None:
    """Steps 14 and 15 work without a copy, and read what was committed while they waited."""
    warehouse = place.ready()
    origin(warehouse)
    if place.kind == "postgres":
        place.query(f"ALTER DATABASE {place.settings.schema} SET default_transaction_isolation = 'repeatable read'")
    batch = Batch([OffsetRange(0, 0, 1)]).row(0, 0, 1)
    row = load(warehouse, batch).row
    with warehouse.loading() as transaction:
        (position,) = transaction.lock_positions()
        found = transaction.find_batch(batch.batch_id, batch.plan_id)
    assert position.position == 1
    assert found is not None
    assert msgspec.structs.replace(found, loaded_at=None) == row
