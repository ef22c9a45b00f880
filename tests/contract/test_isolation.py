"""What one transaction sees of another: the ledger as it is behind the lock, and one state for a whole snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from typing import Any

import pytest

from tests.contract.batches import TOPIC, apply, load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from topicledger.errors import RetriableError
from topicledger.model.accounts import Accounts
from topicledger.warehouse.sql.ledger import LedgerTables


def test_the_second_load_reads_the_ledger_after_the_lock(postgres_place: Place) -> None:
    """A load that waited for another one finds the positions where that one left them, and applies the rest."""
    warehouse = postgres_place.ready()
    origin(warehouse)
    found: list[Accounts] = []

    def longer() -> None:
        found.append(load(postgres_place.warehouse(), numbered(0, 15, "longer")).accounts)

    waiting = Thread(target=longer)
    with warehouse.loading() as transaction:
        batch = numbered(0, 10, "shorter")
        batch.target = warehouse.target
        apply(transaction, batch)
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        transaction.commit()
    waiting.join(60)
    [accounts] = found
    assert (accounts.already_loaded, accounts.loaded, accounts.duplicates) == (10, 5, 0)


def test_a_second_load_of_the_same_process_is_kept_out(duckdb_file_place: Place) -> None:
    """In DuckDB a load that locks while another one has the lock must try again, also when neither has records."""
    warehouse = duckdb_file_place.ready()
    origin(warehouse)
    with warehouse.loading() as first, duckdb_file_place.warehouse().loading() as second:
        first.lock_positions()
        with pytest.raises(RetriableError):
            second.lock_positions()
    with warehouse.loading() as third:
        assert len(third.lock_positions()) == 1


def test_a_snapshot_is_one_state(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that commits while a snapshot is read shows in all of it or in nothing of it."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 10, "first"))
    second = numbered(10, 15, "second")
    honest = LedgerTables.books

    def with_a_load_in_between(ledger: LedgerTables, session: Any) -> Sequence[Any]:
        monkeypatch.undo()
        load(place.warehouse(), second)
        return honest(ledger, session)

    monkeypatch.setattr(LedgerTables, "books", with_a_load_in_between)
    snapshot = warehouse.snapshot(second.batch_id, "none yet")
    assert snapshot.row is None
    assert [books.position for books in snapshot.partitions] == [10]
    assert [p.position for p in warehouse.positions(TOPIC)] == [15]
