"""An event type's own code: what it raises for a record costs that record only, down to the table."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.support.looking import query
from tests.support.records import Record
from tests.support.staged_values import stage_and_load
from topicledger.connection import Connection
from topicledger.pipeline import Pipeline
from topicledger.warehouse.choice import open_warehouse

RATES = {"EUR": 100, "USD": 90}


class Payment(msgspec.Struct, tag="pay"):
    """A payment that looks its currency up, and takes a word of none to stop the iteration."""

    id: str
    currency: str = "EUR"

    def __post_init__(self) -> None:
        """Look the currency up."""
        if not self.currency:
            raise StopIteration
        if self.currency == "\0":
            raise LookupError(self.currency, "\ud800")
        self.id += f" at {RATES[self.currency]}"


@pytest.mark.fault(151, "dead letter")
def test_own_code_that_raises(place: Connection, tmp_path: Path) -> None:
    """Each record is a row, or a dead letter that names what was raised; the tag is no unknown field."""
    tmp_path.chmod(0o700)
    pipeline = Pipeline(
        topic="payments",
        event=Payment,
        key="id",
        staging_dir=str(tmp_path),
    )
    currencies = ["EUR", "XXX", "USD", "", "USD", "\0", "EUR"]
    events = [{"type": "pay", "id": str(n), "currency": currency} for n, currency in enumerate(currencies)]
    sent = [Record(json.dumps(event).encode()) for event in [*events, {**events[0], "id": "7", "unknown": 1}]]
    with closing(open_warehouse(place, pipeline)) as warehouse:
        accounts = stage_and_load(warehouse, pipeline, sent)
    assert (accounts.records, accounts.loaded, accounts.dead_letters, accounts.unknown_fields) == (8, 5, 3, 1)
    rows = query(place, "SELECT id FROM payments ORDER BY id")
    assert rows == [("0 at 100",), ("2 at 90",), ("4 at 90",), ("6 at 100",), ("7 at 100",)]
    dead = query(place, 'SELECT _kafka_offset, reason, error, "value" FROM payments_dead_letters ORDER BY 1')
    assert [(offset, reason, error) for offset, reason, error, _ in dead] == [
        (1, "invalid_event", "the event type raised KeyError: 'XXX'"),
        (3, "invalid_event", "the event type raised StopIteration"),
        (5, "invalid_event", r"the event type raised LookupError: ('\x00', '\ud800')"),
    ]
    assert [bytes(value) for *_, value in dead] == [sent[offset].value for offset, *_ in dead]
