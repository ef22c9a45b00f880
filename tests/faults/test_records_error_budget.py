"""A batch that is malformed beyond its error budget: nothing of it is loaded until a person says so, for that run."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.support.bad_records import BAD
from tests.support.looking import query
from tests.support.records import Record, good
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError


def _batch(numbers: range, malformed: int) -> list[Record]:
    """Records of which the last so many are malformed, each in a way of its own."""
    values = [good(n) for n in numbers]
    values[len(values) - malformed :] = [bad.value for bad in BAD[:malformed]]
    return [Record(value, None, n % 2) for n, value in enumerate(values)]


LOADED = """
    SELECT 'position', CAST(partition AS varchar), position FROM topicledger_positions
    UNION ALL SELECT 'batch', plan_id, 0 FROM topicledger_batches
    UNION ALL SELECT 'rows', '', COUNT(*) FROM user_signups
    UNION ALL SELECT 'dead letters', '', COUNT(*) FROM user_signups_dead_letters
    ORDER BY 1, 2, 3"""
"""All that a load changes."""


def _refused(case: Case, name: str) -> str:
    """What the run's consume step says; it must leave nothing behind."""
    before, run = query(case.place, LOADED), OneRun(case, name)
    with pytest.raises(IntegrityError, match="error budget") as stopped:
        run.consume()
    assert not stopped.value.retriable
    assert case.staged_files() == []
    assert query(case.place, LOADED) == before
    group = f"{case.pipeline.name}.{run.batch_id}"
    assert set(case.topics.committed(group, case.topic).values()) <= {-1001}
    return str(stopped.value)


def _counts(message: str) -> dict[str, int]:
    return {reason: int(count) for count, reason in re.findall(r"(\d+) (\w+), the first at", message)}


def test_a_batch_beyond_its_budget(case: Case) -> None:
    """At its budget a batch is loaded; beyond it nothing is, until a run gets a larger one, which is its alone."""
    case = case.changed(error_budget=0.29)  # 0.29 * 100 is less than 29
    case.send(_batch(range(100), malformed=29))
    accounts = run_steps(case, "exactly").accounts
    assert (accounts.loaded, accounts.dead_letters) == (71, 29)

    case.send(_batch(range(100, 200), malformed=30))
    said = _refused(case, "beyond")
    assert "30 of 100 records can't become rows: 0.3 of the batch, the error budget is 0.29" in said
    assert sum(_counts(said).values()) == 30
    assert "error_budget at 0.3 or more" in said
    assert _refused(case, "beyond") == said  # cleared: the same again

    accounts = run_steps(case.changed(error_budget=0.3), "overridden").accounts
    assert (accounts.records, accounts.loaded, accounts.dead_letters) == (100, 70, 30)

    case.send(_batch(range(200, 210), malformed=3))
    assert "3 of 10 records" in _refused(case, "afterwards")
    case.send(_batch(range(210, 220), malformed=0))
    accounts = run_steps(case, "diluted").accounts
    assert (accounts.records, accounts.dead_letters) == (20, 3)
    assert run_steps(case, "nothing new").accounts.records == 0
    verdict = case.oracle().require_every_record_once()
    assert (len(verdict.rows), len(verdict.dead_letters)) == (158, 62)


@pytest.mark.fault(67, "stopped")
def test_mostly_poison_without_a_budget(duckdb_case: Case) -> None:
    """From 100 records on a batch with more than half dead letters stops, and names the three commonest reasons."""
    case = duckdb_case.changed(error_budget=None)
    few = [Record(b"{")] * 99
    case.send(few)
    assert run_steps(case, "few").accounts.dead_letters == 99
    case.send([*[Record(b"{")] * 50, *(Record(good(n)) for n in range(50))])
    assert run_steps(case, "half").accounts.dead_letters == 50
    worst = [b"{"] * 30 + [b""] * 20 + [b"\xff"] * 10 + [b"[]"] * 5
    case.send([*map(Record, worst), *(Record(good(n)) for n in range(50, 100))])
    said = _refused(case, "most")
    assert "65 of 115 records can't become rows: 0.5652 of the batch, the error budget is 0.5" in said
    assert sorted(_counts(said).values(), reverse=True) == sorted(_counts(said).values(), reverse=True)[:3]
    assert run_steps(case.changed(error_budget=1.0), "accepted").accounts.dead_letters == 65
    case.oracle().require_every_record_once()


@pytest.mark.fault(67, "stopped")
def test_all_poison(case: Case) -> None:
    """With a budget of 1 a batch of malformed records only is loaded as dead letters; any below it stops it."""
    assert run_steps(case.changed(error_budget=0.0), "empty").accounts.records == 0
    case.send(_batch(range(len(BAD)), malformed=len(BAD)))
    for budget in (0.0, 0.999):
        said = _refused(case.changed(error_budget=budget), f"budget {budget}")
        assert f"{len(BAD)} of {len(BAD)} records can't become rows: 1 of the batch" in said
    accounts = run_steps(case, "all of them").accounts
    assert (accounts.records, accounts.dead_letters, accounts.loaded) == (len(BAD), len(BAD), 0)
    reasons = query(case.place, "SELECT reason, COUNT(*) FROM user_signups_dead_letters GROUP BY reason")
    assert _counts(said) == dict(reasons)
    case.oracle().require_every_record_once()


def test_what_it_says_of_the_first_of_each_reason(duckdb_case: Case) -> None:
    """The coordinates and the sentence are those of the dead letter that comes of it, on one line whatever it holds."""
    case = duckdb_case.changed(error_budget=0.1)
    run_steps(case, "empty")
    line = b'"a\\nCRITICAL forged\\u001b[31m\\u202e"'
    values = [good(0), good(1, email="@@@").replace(b'"@@@"', line), b"{", b"}", good(2), b""]
    case.send([Record(value) for value in values])
    said = _refused(case, "stopped")
    assert "\n" not in said
    assert said.isprintable()
    run_steps(case.changed(error_budget=1.0), "overridden")
    letters = query(
        case.place,
        "SELECT reason, min(_kafka_offset), min_by(error, _kafka_offset) FROM user_signups_dead_letters GROUP BY 1",
    )
    assert {reason for reason, _, _ in letters} == {"invalid_json", "invalid_event", "empty_value"}
    for reason, offset, error in letters:
        assert f"{reason}, the first at partition 0, offset {offset}: {error[:200]!r}" in said


def test_tombstones_and_duplicates_are_records(duckdb_case: Case) -> None:
    """The share is that of the accounts: tombstones and duplicates are records, and a batch of none has no share."""
    case = duckdb_case.changed(error_budget=0.0)
    assert run_steps(case, "empty").accounts.records == 0
    case.send([Record(None), Record(None), Record(good(1)), Record(good(1)), Record(b"{")])
    assert "1 of 5 records can't become rows: 0.2 of the batch, the error budget is 0." in _refused(case, "stopped")
    accounts = run_steps(case.changed(error_budget=0.2), "overridden").accounts
    assert accounts.dead_letters / accounts.records == 0.2


def test_a_capped_run_is_a_batch_of_its_own(duckdb_case: Case) -> None:
    """Under a cap the share is that of what the run reads: a good run passes, the one with the malformed ones stops."""
    case = duckdb_case.changed(error_budget=0.1, max_records=10)
    values: Sequence[bytes] = [*(good(n) for n in range(10)), *([b"{"] * 2), *(good(n) for n in range(10, 18))]
    case.send([Record(value) for value in values])
    assert run_steps(case, "first ten").accounts.loaded == 10
    assert "2 of 10 records" in _refused(case, "next ten")
