"""Several runs of one target, at once or cleared: each record is loaded by one of them, and all their books close."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, sign_ups
from tests.support.steps import Case, OneRun, run_steps

EVERY_KEY = True


@pytest.mark.fault(83, "goes on")
def test_cleared_run_with_new_records(case: Case) -> None:
    """A run that is cleared after others produced 30 records loads those under its old name, as a plan of their own."""
    case.send(sign_ups(range(100), partitions=2))
    run = OneRun(case)
    assert run.finish().loaded == 100
    case.send(sign_ups(range(100, 130), partitions=2))
    accounts = run.finish()
    assert (accounts.records, accounts.loaded, accounts.already_loaded) == (30, 30, 0)
    found = query(case.place, f"SELECT plan_id FROM topicledger_batches WHERE batch_id = '{run.batch_id}'")
    assert len(set(found)) == 2
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(89, "goes on")
@pytest.mark.parametrize("origin", ["earliest", "latest"])
def test_two_first_runs_at_once(case: Case, origin: str) -> None:
    """Of two first runs the one that planned further loads first; both have one origin, and nothing is left out."""
    case = case.changed(origin=origin)
    case.send(sign_ups(range(10), partitions=2))
    shorter, longer = OneRun(case, "manual__1"), OneRun(case, "scheduled__1")
    for run, numbers in ((shorter, range(10, 16)), (longer, range(20, 28))):
        run.produce((record.key, record.value) for record in sign_ups(numbers))
    if origin == "earliest":
        together = Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda run: (together.wait(), run.consume()), (shorter, longer)))
    else:
        shorter.consume()  # the first to plan sets the origin, at its own first records
        longer.consume()
    case.send(sign_ups(range(30, 34), partitions=2))
    longer.consume()
    before = 0 if origin == "earliest" else 10
    assert longer.load().loaded == 28 - before
    accounts = shorter.load()
    assert accounts.loaded == 0
    assert accounts.already_loaded == accounts.records >= 6
    for run in (shorter, longer):
        run.reconcile()
    case.oracle().require_every_record_once(before_origin=before)


@pytest.mark.slow
@pytest.mark.fault(102, "goes on")
def test_loads_that_commit_while_another_run_reconciles(case: Case) -> None:
    """A run that reconciles again and again while eight others commit finds its books closed each time."""
    case.send(sign_ups(range(10), partitions=2))
    first = run_steps(case, "manual__0")
    others = [OneRun(case, f"manual__{number}") for number in range(1, 9)]
    for number, run in enumerate(others, 1):
        case.send([*sign_ups(range(10 * number, 10 * number + 10), partitions=2), Record(None)])
        run.consume()
    ended, reconciled = Event(), 0

    def load() -> None:
        try:
            for run in others:
                run.load()
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        while not ended.is_set():
            first.reconcile()
            reconciled += 1
        loading.result()
    assert reconciled > 2
    assert count(case.place, "topicledger_batches") == 9
    for run in others:
        run.reconcile()
    case.oracle().require_every_record_once()
