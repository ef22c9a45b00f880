"""What tasks hand on to each other: missing, changed, or too large to be handed on as it is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import IntegrityError
from topicledger.model.plan import OffsetRange
from topicledger.staged_files.receipts import pushed_receipt, received_receipt
from topicledger.steps.produce import produce_batch
from topicledger.steps.reconcile import reconcile

PARTITIONS = 300
BATCH = [(r.key, r.value) for r in sign_ups(range(20))]


@pytest.mark.fault(19, "stopped")
def test_a_changed_receipt(duckdb_case: Case) -> None:
    """A receipt that claims another topic, other offsets, another attempt or another number stops the run."""
    run = OneRun(duckdb_case)
    honest = run.produce(BATCH)
    claims: list[tuple[dict[str, Any], str]] = [
        ({"topic_id": "AAAAAAAAAAAAAAAAAAAAAA"}, "was recreated after this run produced"),
        ({"ranges": (OffsetRange(0, 0, 10**6),)}, "it ends at .* this run produced through 1000000"),
        ({"attempt": "0" * 16}, "don't close"),
        ({"acked": 19}, "don't close"),
        ({"acked": 21}, "don't close"),
    ]
    for changes, says in claims:
        run.receipt = msgspec.structs.replace(honest, **changes)
        with pytest.raises(IntegrityError, match=says):
            run.finish()
    run.receipt = honest
    assert run.finish().loaded == len(BATCH)
    duckdb_case.oracle().require_every_record_once()


@pytest.mark.fault(19, "stopped")
@pytest.mark.parametrize(("plan_id", "says"), [(None, "Repeat the run from loading on"), ("0" * 64, "has no batch")])
def test_a_plan_that_is_missing_or_changed(duckdb_case: Case, plan_id: str | None, says: str) -> None:
    """The books aren't closed over another plan than the one that was loaded, and the message says what to clear."""
    run = OneRun(duckdb_case)
    run.produce(BATCH)
    run.consume()
    run.load()
    with pytest.raises(IntegrityError, match=says):
        reconcile(run, plan_id)
    run.load()
    run.reconcile()
    duckdb_case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(20, "goes on")
def test_a_topic_of_many_partitions(topics: Topics, place: Connection, tmp_path: Any) -> None:
    """With 300 partitions the receipt is a staged file; once that is cleaned up, producing again is what helps."""
    case = make_case(topics, place, tmp_path, partitions=PARTITIONS)
    run = OneRun(case)
    receipt = produce_batch(run, BATCH)
    assert len(receipt.ranges) == PARTITIONS
    root, batch = case.root, run.batch_id
    pushed = json.loads(json.dumps(pushed_receipt(receipt, root, batch)))
    assert len(json.dumps(pushed)) < 2_000
    [file] = case.staged_files()
    assert file.stat().st_size > 2_000
    run.receipt = received_receipt(pushed, root, batch, expected=True)
    accounts = run.finish()
    assert (accounts.acked, accounts.acked_seen, accounts.loaded) == (20, 20, 20)
    assert case.staged_files() == []
    with pytest.raises(IntegrityError, match="Repeat the run from producing on"):
        received_receipt(pushed, root, batch, expected=True)
    run.produce(BATCH)
    again = run.finish()
    assert (again.acked_seen, again.loaded, again.duplicates) == (20, 0, 20)
    case.oracle().require_every_record_once()
