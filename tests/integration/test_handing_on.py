"""What the consume step leaves, and for whom: offsets after the manifest, a batch for one table."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun
from topicledger.errors import IntegrityError, RetriableError
from topicledger.kafka.offsets import commit_group
from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import ReconciledBooks
from topicledger.steps import consume
from topicledger.steps.reconcile import show_positions


def test_offsets_wait_for_the_manifest(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's group has no offsets when the parts are whole, nor when the manifest is there; only then."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    run = OneRun(case)
    group = f"{case.pipeline.name}.{run.batch_id}"
    seen = {}

    def passing(point: str) -> None:
        seen[point] = case.topics.committed(group, case.topic)

    monkeypatch.setattr(consume, "crash_point", passing)
    run.consume()
    assert seen["step-10.jumps_read_again"] == seen["step-12.staged"] == {}
    assert seen["step-12.offsets_committed"] == {0: 3, 1: 3}


def test_offsets_are_committed_at_the_second_try(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose coordinator isn't ready yet, as after a broker's restart, is asked again: the batch is staged."""
    case = duckdb_case
    case.send(sign_ups(range(6), partitions=2))
    run = OneRun(case)
    tries = []

    def busy_at_first(*arguments: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RetriableError("Coordinator load in progress", code="kafka-unavailable")
        commit_group(*arguments)

    monkeypatch.setattr(consume, "commit_group", busy_at_first)
    run.consume()
    assert case.topics.committed(f"{case.pipeline.name}.{run.batch_id}", case.topic) == {0: 3, 1: 3}


def test_a_batch_staged_for_another_table(duckdb_case: Case) -> None:
    """When the pipeline's table changes between two tasks, the batch isn't loaded into the new one."""
    case = duckdb_case
    case.send(sign_ups(range(4)))
    run = OneRun(case)
    run.consume()
    run.case = case.changed(table="other_signups")
    with pytest.raises(IntegrityError, match=r"was staged for main\.user_signups, .* main\.other_signups"):
        run.load()


def test_offsets_that_cannot_be_shown_fail_nothing(duckdb_case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """When the broker refuses the offsets of the group for lag tools, the log says so and the run goes on."""
    case = duckdb_case
    run = OneRun(case)
    run.consume()
    run.load()
    assert run.row is not None
    row = msgspec.structs.replace(run.row, topic="no.such.topic")
    books = ReconciledBooks(row, (PartitionBooks(row.topic_id, 0, 0, 5, 5),), ())
    with caplog.at_level(logging.WARNING):
        show_positions(run, books)
    assert f"the offsets of group {case.pipeline.name} could not be set" in " ".join(caplog.messages)
