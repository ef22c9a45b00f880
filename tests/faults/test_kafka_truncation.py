"""A log that lost its end: named with the exact interval, accepted on record, and told from one that grew again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.broker import Broker, running_broker
from tests.support.looking import query
from tests.support.places import duckdb_file
from tests.support.records import sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics
from topicledger.errors import IntegrityError

pytestmark = pytest.mark.slow
"""Each case kills and restarts a broker of its own."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker whose files this test may damage."""
    with running_broker(tmp_path / "broker") as running:
        yield running


def cut_the_log(broker: Broker, case: Case, keep_bytes: int) -> None:
    """Kill the broker, cut partition 0's log and start it again: what a lost disk or an unclean election leaves."""
    broker.kill()
    folder = broker.folder / "data" / f"{case.topic}-0"
    [segment] = folder.glob("*.log")
    with segment.open("r+b") as file:
        file.truncate(keep_bytes)
    for derived in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
        derived.unlink()
    broker.start()


def loaded_then_cut(broker: Broker, folder: Path) -> Case:
    """Ten records loaded, of which the log then keeps the first six."""
    case = make_case(Topics(broker.bootstrap), duckdb_file(folder), folder, partitions=1)
    case.send(sign_ups(range(6)))
    kept = (broker.folder / "data" / f"{case.topic}-0").glob("*.log")
    [keep_bytes] = [segment.stat().st_size for segment in kept]
    case.send(sign_ups(range(6, 10)))
    assert run_steps(case, "manual__1").accounts.loaded == 10
    cut_the_log(broker, case, keep_bytes)
    assert case.topics.ends(case.topic) == {0: 6}
    return case


@pytest.mark.fault(34, "stopped")
@pytest.mark.fault(99, "stopped")
def test_truncated(broker: Broker, tmp_path: Path) -> None:
    """A truncated log stops the run until exactly its interval is accepted; then the position is set back on record."""
    case = loaded_then_cut(broker, tmp_path)
    with pytest.raises(IntegrityError, match=re.escape("offsets [6, 10), 4 in all, were truncated")) as refused:
        OneRun(case, "manual__2").consume()
    assert '{"accept": ["truncated:0:6:10"]}' in str(refused.value)
    for wrong in ("truncated:0:7:10", "gap:0:6:10"):
        with pytest.raises(IntegrityError, match=re.escape("truncated:0:6:10")):
            OneRun(case, "manual__2").consume([wrong])
    accepted = run_steps(case, "manual__2", accept=["truncated:0:6:10"])
    assert accepted.accounts.records == 0
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(6, 1)]
    case.send(sign_ups(range(8, 12)))
    later = run_steps(case, "manual__3").accounts
    assert (later.loaded, later.duplicates) == (2, 2)
    found = query(case.place, "SELECT user_id FROM user_signups ORDER BY user_id")
    assert [number for (number,) in found] == list(range(12))


@pytest.mark.fault(4, "retried")
def test_killed_when_the_position_was_set_back(broker: Broker, tmp_path: Path) -> None:
    """Killed right after an accepted truncation was recorded, the retry goes on and records nothing twice."""
    case = loaded_then_cut(broker, tmp_path)
    run, accept = OneRun(case, "manual__2"), ["truncated:0:6:10"]
    assert not run_step(run, "consume", (tmp_path, "step-05.set_back"), accept=accept)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(6, 1)]
    case.send(sign_ups(range(8, 12)))
    assert run_step(run, "consume", accept=accept)
    accounts = run.load()
    run.reconcile()
    assert (accounts.loaded, accounts.duplicates) == (2, 2)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(10, 1)]


def test_staged_before_the_position_was_set_back(broker: Broker, tmp_path: Path) -> None:
    """What was staged from the log that was cut no longer loads after the position was set back."""
    case = make_case(Topics(broker.bootstrap), duckdb_file(tmp_path), tmp_path, partitions=1)
    case.send(sign_ups(range(6)))
    [segment] = (broker.folder / "data" / f"{case.topic}-0").glob("*.log")
    keep_bytes = segment.stat().st_size
    case.send(sign_ups(range(6, 10)))
    run_steps(case, "manual__1")
    case.send(sign_ups(range(10, 13)))
    late = OneRun(case, "late")
    late.consume()
    cut_the_log(broker, case, keep_bytes)
    run_steps(case, "manual__2", accept=["truncated:0:6:10"])
    with pytest.raises(IntegrityError, match="generation"):
        late.load()


@pytest.mark.fault(34, "stopped")
def test_truncated_and_grown_again(broker: Broker, tmp_path: Path) -> None:
    """A log that was cut and has grown past the position again is caught by the leader epoch, not read on silently."""
    case = loaded_then_cut(broker, tmp_path)
    case.send(sign_ups(range(50, 60)))
    with pytest.raises(
        IntegrityError, match=r"was truncated below the ledger.s position and has grown again"
    ) as refused:
        OneRun(case, "manual__2").consume()
    assert case.staged_files() == []
    assert (refused.value.partition, refused.value.offset) == (0, 10)
    assert query(case.place, "SELECT COUNT(*) FROM user_signups") == [(10,)]
    assert '{"accept": ["truncated:0:6:10"]}' in str(refused.value)
    with pytest.raises(IntegrityError, match=re.escape("truncated:0:6:10")):
        OneRun(case, "manual__2").consume(["truncated:0:7:10"])
    accepted = run_steps(case, "manual__2", accept=["truncated:0:6:10"]).accounts
    assert (accepted.records, accepted.loaded) == (10, 10)
    assert query(case.place, "SELECT position, generation FROM topicledger_positions") == [(16, 1)]
    again = run_steps(case, "manual__2", accept=["truncated:0:6:10"]).accounts
    assert again.records == 0
