"""PostgreSQL that is cut off, goes away or refuses in the middle of a load: rolled back, done again, loaded once."""

from __future__ import annotations

import dataclasses
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from devstack.postgres import running_postgres
from tests.support.looking import count, query
from tests.support.proxy import Moment, Proxy, proxied
from tests.support.records import Record, sign_ups
from tests.support.step_process import started_step
from tests.support.steps import Case, OneRun, make_case
from tests.support.topics import Topics, wait_for
from topicledger.connection import Connection

pytestmark = pytest.mark.both_databases


@pytest.fixture
def direct(topics: Topics, postgres_settings: Connection, tmp_path: Path) -> Case:
    """A case on PostgreSQL."""
    case = make_case(topics, postgres_settings, tmp_path)
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None), *sign_ups(range(5))])
    return case


@pytest.fixture
def behind(direct: Case) -> Iterator[tuple[Proxy, Case]]:
    """The same case, its warehouse behind a proxy."""
    with proxied(direct.place) as (proxy, place):
        yield proxy, dataclasses.replace(direct, place=place)


def require_loaded_once(case: Case, run: OneRun) -> None:
    """One ledger row with the accounts that the load gave, the books closed, and the oracle content."""
    accounts = run.accounts
    assert (accounts.loaded, accounts.duplicates, accounts.dead_letters, accounts.tombstones) == (300, 5, 1, 1)
    assert count(case.place, "topicledger_batches") == 1
    assert run.reconcile() == accounts
    case.oracle().require_every_record_once()


@pytest.mark.fault(75, "nothing to do")
def test_a_lost_answer_to_commit(direct: Case, behind: tuple[Proxy, Case], caplog: pytest.LogCaptureFixture) -> None:
    """The server has committed and its answer is lost: a new session finds the ledger row and gives its accounts."""
    proxy, case = behind
    run = OneRun(case)
    run.consume()
    proxy.cuts.append("after COMMIT")
    with caplog.at_level(logging.INFO, "topicledger"):
        run.load()
    assert proxy.done == ["after COMMIT"]
    assert "it is unknown whether COMMIT succeeded" in caplog.text
    assert "is in the ledger already: nothing to do" in caplog.text
    require_loaded_once(direct, run)


@pytest.mark.fault(74, "retried")
@pytest.mark.parametrize(
    "cuts",
    [
        ["before COMMIT"],
        pytest.param(["during COPY"], marks=pytest.mark.slow),
        pytest.param(["during COPY", "before COMMIT"], marks=pytest.mark.slow),
    ],
)
def test_a_cut_connection(
    direct: Case, behind: tuple[Proxy, Case], caplog: pytest.LogCaptureFixture, cuts: list[Moment]
) -> None:
    """Cut while it copies, or with a COMMIT that never arrives, the transaction is gone and the load begins anew."""
    proxy, case = behind
    run = OneRun(case)
    run.consume()
    proxy.cuts.extend(cuts)
    with caplog.at_level(logging.INFO, "topicledger"):
        run.load()
    assert proxy.done == cuts
    assert caplog.text.count("; trying again") == len(cuts)
    assert "nothing to do" not in caplog.text
    require_loaded_once(direct, run)


@pytest.mark.slow
@pytest.mark.fault(74, "retried")
def test_a_deadlock(direct: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Of two sessions that wait for each other the server ends the load's, which begins anew."""
    run = OneRun(direct)
    run.consume()
    loading = Thread(target=run.load)
    place = direct.place
    with psycopg.connect(f"host={place.host} port={place.port} user={place.login} dbname={place.schema}") as other:
        # The other one never looks for a deadlock, so that the load's session is the one that finds it.
        other.execute("SET LOCAL deadlock_timeout = '1h'")
        other.execute("LOCK TABLE user_signups IN EXCLUSIVE MODE")
        loading.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_for("the load to wait", lambda: query(place, waits) or None)
        other.execute("SELECT 1 FROM topicledger_positions FOR UPDATE")
        other.commit()
    loading.join()
    assert "PostgreSQL says 40P01" in caplog.text
    require_loaded_once(direct, run)


@pytest.mark.fault(74, "retried")
@pytest.mark.parametrize(
    "state",
    [
        "40001",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("53100", "53300", "57014", "57P01", "55P03", "25006")),
    ],
)
def test_what_the_server_may_answer(direct: Case, caplog: pytest.LogCaptureFixture, state: str) -> None:
    """A serialization failure, a full disk, a time limit, a shutdown: an insert that fails once is done again."""
    run = OneRun(direct)
    run.consume()
    # A sequence isn't rolled back: only the first insert fails.
    query(
        direct.place,
        f"""
        CREATE SEQUENCE tries;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.tries') = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER refuse AFTER INSERT ON user_signups FOR EACH STATEMENT EXECUTE FUNCTION refuse();""",
    )
    run.load()
    assert f"PostgreSQL says {state} " in caplog.text
    require_loaded_once(direct, run)


@pytest.mark.slow
@pytest.mark.fault(74, "retried")
@pytest.mark.parametrize("point", ["step-13.copied", "step-18.inserted", "step-19.closed"])
def test_a_server_that_is_killed_during_the_load(
    topics: Topics, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, point: str
) -> None:
    """The server dies in the middle and comes back: nothing of the batch is there, and the same task loads it."""
    crash = tmp_path / "crash"
    crash.mkdir()
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        server.create_database("ledger")
        place = Connection("warehouse_default", "postgres", server.host, server.port, server.user, None, "ledger")
        case = make_case(topics, place, tmp_path)
        case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None), *sign_ups(range(5))])
        run = OneRun(case)
        run.consume()
        with started_step(run, "load", (crash, point), "SIGSTOP") as load:
            load.wait_until_stopped()
            server.kill()
            server.start()
            assert count(place, "user_signups") == count(place, "topicledger_batches") == 0
            load.send(signal.SIGCONT)
            assert load.finish() == 0, load.errors()
            assert "trying again" in load.errors()
        require_loaded_once(case, run)
