"""SIGKILL while DuckDB commits, writes its log into the file, or closes: the file opens, and data and ledger agree."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.looking import query
from tests.support.records import Record, sign_ups
from tests.support.step_process import orders_of
from tests.support.steps import Case, OneRun, run_steps

pytestmark = pytest.mark.both_databases

TIMES = 12
BEFORE = 100

FOUND = """
SELECT (SELECT COUNT(*) FROM user_signups), (SELECT COUNT(DISTINCT event_id) FROM user_signups),
       (SELECT COUNT(*) FROM user_signups_dead_letters), (SELECT COUNT(*) FROM topicledger_batches),
       (SELECT SUM(position) FROM topicledger_positions)"""


@pytest.mark.slow
@pytest.mark.fault(77, "retried")
@pytest.mark.parametrize("records", [200, 20_000])
def test_killed_at_any_instant_of_the_commit(duckdb_case: Case, tmp_path: Path, records: int) -> None:
    """Small commits go through the log, large ones straight into the file: all of the batch is there, or none of it."""
    case = duckdb_case
    case.send(sign_ups(range(BEFORE), partitions=2))
    run_steps(case, "before")
    case.send([*sign_ups(range(BEFORE, BEFORE + records), partitions=2), Record(b"{"), Record(None)])
    run = OneRun(case)
    run.consume()
    (tmp_path / "killed").mkdir()
    orders = {**orders_of(run, "load"), "folder": str(tmp_path / "killed"), "times": TIMES}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_loads"],
        input=json.dumps(orders).encode(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    logs = json.loads(done.stdout)
    none = (BEFORE, BEFORE, 0, 1, BEFORE)
    whole = (BEFORE + records, BEFORE + records, 1, 2, BEFORE + records + 2)
    outcomes = [require_whole_or_nothing(run, tmp_path / "killed" / str(n), none, whole) for n in range(TIMES + 1)]
    assert outcomes[0], "the load that was left alone"
    if records == 200:
        assert any(logs), "no kill left a log behind"


def require_whole_or_nothing(run: OneRun, folder: Path, none: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """The file opens with one of these two states; the retry makes it the second; the oracle agrees with it."""
    place = dataclasses.replace(run.case.place, host=str(folder / Path(str(run.case.place.host)).name))
    (found,) = query(place, FOUND)
    assert found in (none, whole)
    case = dataclasses.replace(run.case, place=place)
    retried = dataclasses.replace(run, case=case)
    assert retried.load().loaded == whole[0] - none[0]
    assert query(place, FOUND) == [whole]
    retried.reconcile()
    case.oracle().require_every_record_once()
    return found == whole
