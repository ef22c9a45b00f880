"""Whole runs on a real broker and both warehouses."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.support.steps import Case, OneRun, run_steps
from topicledger.simulation import simulate

pytestmark = pytest.mark.both_databases

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def simulated(run: OneRun, count: int = 600, malformed: float = 0.1) -> list[tuple[bytes, bytes]]:
    return list(simulate(count, malformed=malformed, seed=0, run_key=run.batch_id, at=AT))


def test_a_run_loads_all_that_it_produced(case: Case) -> None:
    """Every record that the run produced is a row or a dead letter, its books close, and its files are gone."""
    run = run_steps(case, records=simulated(OneRun(case)))
    accounts = run.accounts
    assert (accounts.records, accounts.loaded, accounts.dead_letters) == (600, 540, 60)
    assert (accounts.acked, accounts.acked_seen, accounts.unchecked_jumps) == (600, 600, 0)
    verdict = case.oracle().require_every_record_once()
    assert (len(verdict.rows), len(verdict.dead_letters)) == (540, 60)
    assert case.staged_files() == []
