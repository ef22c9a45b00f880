"""The reader's own mistakes: a record that it loses is found by reading the jumps in the offsets again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.records import aborted, committed, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError
from topicledger.kafka import progress
from topicledger.kafka.reader import RangeReader


@pytest.mark.fault(87, "stopped")
@pytest.mark.parametrize(("first", "last"), [(0, 3), (7, 9), (15, 20)], ids=["head", "middle", "tail"])
def test_a_reader_that_loses_records(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Records that the first read drops, wherever they lie, are found by the second: nothing is staged."""
    case = duckdb_case
    case.send(sign_ups(range(20)))
    honest = RangeReader._take

    def losing(reader: RangeReader, records: Sequence[Any]) -> Sequence[Any]:
        return honest(reader, [record for record in records if not first <= record.offset() < last])

    monkeypatch.setattr(RangeReader, "_take", losing)
    with pytest.raises(IntegrityError, match="The reader lost it") as refused:
        OneRun(case).consume()
    assert (refused.value.partition, refused.value.offset) == (0, first)
    assert case.staged_files() == []
    monkeypatch.undo()
    assert run_steps(case).accounts.loaded == 20
    case.oracle().require_every_record_once()


@pytest.mark.slow
def test_more_jumps_than_are_checked(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more jumps than are read again the longest are, and the accounts say how many were not."""
    case = duckdb_case
    monkeypatch.setattr(progress, "CHECKED_JUMPS", 2)
    for number in range(3):
        bounds = range(10 * number, 10 * number + number + 1)
        aborted(case.topics.bootstrap, case.topic, sign_ups(bounds, partitions=2))
        committed(case.topics.bootstrap, case.topic, sign_ups(range(100 + number, 101 + number)))
    accounts = run_steps(case).accounts
    assert accounts.loaded == 3
    assert accounts.unchecked_jumps > 0
    case.oracle().require_every_record_once()


@pytest.mark.slow
def test_many_jumps_in_both_partitions(duckdb_case: Case) -> None:
    """Jump upon jump in each partition is read again, one after another, and the batch closes."""
    case = duckdb_case
    for number in range(3):
        aborted(case.topics.bootstrap, case.topic, sign_ups(range(2 * number, 2 * number + 2), partitions=2))
        committed(case.topics.bootstrap, case.topic, sign_ups(range(100 + 2 * number, 102 + 2 * number), partitions=2))
    accounts = run_steps(case).accounts
    assert (accounts.loaded, accounts.unchecked_jumps) == (6, 0)
    assert accounts.invisible == 6 + 6 * 2
    case.oracle().require_every_record_once()
