"""The leader epoch that is kept with a position: it tells a truncation from everything that only looks like one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.broker import Broker, running_broker
from tests.support.places import duckdb_file
from tests.support.records import aborted, committed, sign_ups
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics

pytestmark = pytest.mark.slow  # each starts a broker several times


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own, to be stopped and started: each start gives the partitions a new leader epoch."""
    with running_broker(tmp_path / "broker") as running:
        assert isinstance(running, Broker)
        yield running


@pytest.fixture
def case(broker: Broker, tmp_path: Path) -> Case:
    """A topic on that broker and a DuckDB file."""
    return make_case(Topics(broker.bootstrap), duckdb_file(tmp_path), tmp_path)


def restart(broker: Broker) -> None:
    """Stop the broker and start it again on its data."""
    broker.stop()
    broker.start()


def epochs(case: Case) -> set[int | None]:
    """Give the leader epochs that the ledger keeps."""
    return {position.leader_epoch for position in case.warehouse().positions(case.topic)}


@pytest.mark.fault(95, "goes on")
def test_changed_leaders_raise_no_false_alarm(broker: Broker, case: Case) -> None:
    """Records, an aborted tail and nothing at all, each under a later leader: every run closes, from where it ended."""
    bootstrap = case.topics.bootstrap
    case.send(sign_ups(range(20), partitions=2))
    assert run_steps(case, "first").accounts.loaded == 20
    restart(broker)
    aborted(bootstrap, case.topic, sign_ups(range(20, 30), partitions=2))
    markers_only = run_steps(case, "markers").accounts
    assert (markers_only.records, markers_only.invisible) == (0, 12)
    assert None not in epochs(case)
    assert run_steps(case, "nothing").accounts.records == 0
    restart(broker)
    committed(bootstrap, case.topic, sign_ups(range(30, 40), partitions=2))
    assert run_steps(case, "more").accounts.loaded == 10
    assert None not in epochs(case)
    case.oracle().require_every_record_once()


@pytest.mark.fault(96, "goes on")
def test_a_batch_staged_under_an_older_leader_loads_late(broker: Broker, case: Case) -> None:
    """A stages, the leader changes, B loads further, then A loads: A's older epoch is not kept, the next run closes."""
    case.send(sign_ups(range(10), partitions=2))
    late = OneRun(case, "late")
    late.consume()
    restart(broker)
    case.send(sign_ups(range(10, 20), partitions=2))
    run_steps(case, "further")
    kept = epochs(case)
    late.load()
    assert late.reconcile().already_loaded == 10
    late.clean_up()
    assert epochs(case) == kept
    case.send(sign_ups(range(20, 25), partitions=2))
    assert run_steps(case, "next").accounts.loaded == 5
    case.oracle().require_every_record_once()
