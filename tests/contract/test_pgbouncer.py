"""What only a pooler in transaction mode can do to us: each transaction may be on another of the server's sessions.

The whole contract suite runs behind it, too; see conftest.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Postgres
from tests.contract.batches import apply, load, origin
from tests.contract.loader import load_patiently, numbered
from tests.contract.places import Place
from tests.support.pgbouncer import running_pgbouncer
from tests.support.topics import wait_for
from topicledger.errors import RetriableError, SettingsError

pytestmark = pytest.mark.slow

SETTINGS = (
    *("TimeZone", "search_path", "lock_timeout", "work_mem", "default_transaction_isolation", "client_encoding"),
    *("default_statistics_target", "enable_presorted_aggregate", "row_security", "quote_all_identifiers"),
)


@pytest.fixture
def place(pooled_place: Place) -> Place:
    return pooled_place


def sessions(place: Place) -> dict[int, tuple[str, ...]]:
    """The server's sessions that the pooler hands out, each with the settings that it has between transactions."""
    found: dict[int, tuple[str, ...]] = {}
    with psycopg.connect(place.dsn(), autocommit=True, prepare_threshold=None) as session:
        for _ in range(40):
            asked = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
            ((pid, *values),) = session.execute(f"SELECT pg_backend_pid(), {asked}".encode()).fetchall()
            found[pid] = tuple(values)
    return found


def test_nothing_of_a_load_stays_in_a_session(place: Place) -> None:
    """Loads that ran on several sessions of the server leave no temporary table and no setting in any of them."""
    before = set(sessions(place).values())
    warehouse = place.ready()
    origin(warehouse)
    with ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(load_patiently, place.warehouse(), numbered(0, 40, f"run-{n}")) for n in range(4)]
        done = [start.result() for start in starts]
    assert sum(loaded.accounts.loaded for loaded in done) == 40
    with pytest.raises(RuntimeError, match="on the way"), place.warehouse().loading() as transaction:  # noqa: PT012 - the block is what rolls back
        apply(transaction, replace(numbered(40, 45, "broken"), target=warehouse.target))
        raise RuntimeError("on the way")
    after = sessions(place)
    assert len(after) > 1
    assert set(after.values()) == before
    assert place.query("SELECT relname FROM pg_class WHERE relname LIKE 'topicledger_staged%'") == []


def test_repeatable_read_behind_the_pooler(place: Place, postgres_place: Place) -> None:
    """Two loads that wait for one lock behind the pooler read the ledger behind it."""
    postgres_place.query(
        f"ALTER DATABASE {place.settings.schema} SET default_transaction_isolation = 'repeatable read'"
    )
    warehouse = place.ready()
    origin(warehouse)
    batch = replace(numbered(0, 10, "run"), target=warehouse.target)
    with ThreadPoolExecutor(2) as pool, warehouse.loading() as transaction:
        apply(transaction, batch)
        same = pool.submit(load, place.warehouse(), numbered(0, 10, "run"))
        longer = pool.submit(load, place.warehouse(), numbered(0, 15, "longer"))
        wait_for("two loads to wait for the lock", lambda: True if waiting(postgres_place) == 2 else None)
        transaction.commit()
    assert same.result().repeated
    accounts = longer.result().accounts
    assert (accounts.already_loaded, accounts.loaded, accounts.duplicates) == (10, 5, 0)


def waiting(place: Place) -> int:
    """How many sessions wait for a lock in this database."""
    [(count,)] = place.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return int(count)


def test_a_statement_timeout_of_the_database(place: Place, postgres_place: Place) -> None:
    """A time limit that the database sets ends a load that waits for another one's lock; it is tried again."""
    postgres_place.query(f"ALTER DATABASE {place.settings.schema} SET statement_timeout = '3s'")
    warehouse = place.ready()
    origin(warehouse)
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        with pytest.raises(RetriableError, match="57014"):
            load(place.warehouse(), numbered(0, 3, "run"))
    assert load(warehouse, numbered(0, 3, "run")).accounts.loaded == 3


def test_a_pool_of_one_session(postgres_server: Postgres, postgres_place: Place, tmp_path: Path) -> None:
    """No call needs a second session while it has one open, or it would wait for itself."""
    with running_pgbouncer(tmp_path, postgres_server, pool_size=1) as port:
        place = replace(postgres_place, settings=replace(postgres_place.settings, host="127.0.0.1", port=port))
        warehouse = place.ready()
        origin(warehouse)
        assert load(warehouse, numbered(0, 3, "run")).accounts.loaded == 3
        assert len(warehouse.history(5)) == 1
        assert warehouse.access().problems == ()


def test_a_session_that_the_server_ends(place: Place, postgres_place: Place) -> None:
    """The pooler passes the loss of its session on: nothing is loaded, and the error says to try again."""
    warehouse = place.ready()
    origin(warehouse)
    batch = replace(numbered(0, 3, "run"), target=warehouse.target)
    with pytest.raises(RetriableError), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        apply(transaction, batch)
        postgres_place.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        transaction.commit()
    assert load(warehouse, batch).accounts.loaded == 3


def test_options_that_the_pooler_refuses(place: Place) -> None:
    """A setting for the session, which no transaction pooler can keep, is refused by it: a person must correct that."""
    with pytest.raises(SettingsError, match="unsupported startup parameter: options"):
        place.with_extra(options="-c statement_timeout=300").warehouse().ensure_tables()
