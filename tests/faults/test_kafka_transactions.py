"""Transactions on the topic: what was aborted is never seen, and what is still open is never passed over."""

from __future__ import annotations

import pytest

from tests.support.records import aborted, committed, left_open, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import RetriableError


@pytest.mark.fault(41, "counted")
def test_aborted_in_the_middle_and_at_the_tail(case: Case) -> None:
    """A range with aborted records inside and at its end closes through the end, and the next runs go on from there."""
    bootstrap, topic = case.topics.bootstrap, case.topic
    case.send(sign_ups(range(5)))
    aborted(bootstrap, topic, sign_ups(range(100, 105)))
    committed(bootstrap, topic, sign_ups(range(10, 15)))
    aborted(bootstrap, topic, sign_ups(range(200, 205)))
    first = run_steps(case, "manual__1").accounts
    markers = 3
    assert (first.loaded, first.invisible) == (10, 10 + markers)
    case.oracle().require_every_record_once()
    assert run_steps(case, "manual__2").accounts.records == 0
    case.send(sign_ups(range(20, 23)))
    assert run_steps(case, "manual__3").accounts.loaded == 3
    case.oracle().require_every_record_once()


@pytest.mark.fault(41, "counted")
def test_only_aborted_records(duckdb_case: Case) -> None:
    """A range in which nothing is visible closes with no record, through its end."""
    case = duckdb_case
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(8), partitions=2))
    accounts = run_steps(case).accounts
    assert (accounts.records, accounts.invisible) == (0, 8 + 2)
    case.oracle().require_every_record_once()


@pytest.mark.fault(93, "retried")
def test_open_transaction_without_records_of_this_run(duckdb_case: Case) -> None:
    """A run that produced nothing stops before a transaction that stays open, with the partition and both offsets."""
    case = duckdb_case
    case.send(sign_ups(range(4), partitions=2))
    run = OneRun(case)
    with left_open(case.topics.bootstrap, case.topic, sign_ups(range(10, 13))):
        with pytest.raises(RetriableError, match=r"open transaction .* partition 0: 2 < 5") as refused:
            run.consume()
        assert (refused.value.partition, refused.value.offset) == (0, 2)
        assert case.staged_files() == []
    assert run.finish().loaded == 7
    case.oracle().require_every_record_once()


@pytest.mark.fault(42, "retried")
def test_open_transaction_before_records_of_this_run(duckdb_case: Case) -> None:
    """A run whose own records lie behind an open transaction waits, then stops; ended, the same run reads them."""
    case = duckdb_case
    run = OneRun(case)
    with left_open(case.topics.bootstrap, case.topic, sign_ups(range(4), partitions=2)):
        run.produce((r.key, r.value) for r in sign_ups(range(10, 40)))
        with pytest.raises(RetriableError, match="open transaction"):
            run.consume()
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked, accounts.acked_seen) == (34, 30, 30)
    case.oracle().require_every_record_once()
