"""A process that loads one batch, trying again as a scheduler would. Prints `applied` or `repeated`.

Arguments: JSON of the connection's fields and of what is declared otherwise, the run, start and end offset.
"""

from __future__ import annotations

import json
import sys
import time

from tests.contract.batches import Batch, Loaded, load, pipeline
from topicledger.connection import Connection
from topicledger.errors import RetriableError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Warehouse


def numbered(start: int, end: int, run: str) -> Batch:
    batch = Batch([OffsetRange(0, start, end)], run=run)
    for offset in range(start, end):
        batch.row(0, offset, offset)
    return batch


def load_patiently(warehouse: Warehouse, batch: Batch, limit_s: float = 60) -> Loaded:
    """Load, again whenever the error says so."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return load(warehouse, batch)
        except RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main(settings: str, changes: str, run: str, start: str, end: str) -> None:
    warehouse = open_warehouse(Connection(**json.loads(settings)), pipeline(**json.loads(changes)))
    done = load_patiently(warehouse, numbered(int(start), int(end), run))
    sys.stdout.write("repeated" if done.repeated else "applied")


if __name__ == "__main__":
    main(*sys.argv[1:])
