"""Books that don't close: each term of each identity, wrong by one, stops the real load, and nothing is committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.support.falsified import Falsified
from tests.support.looking import count, query
from tests.support.records import Record, aborted, good, sign_ups
from tests.support.steps import Case, OneRun, OpenedRun, make_case
from tests.support.topics import Topics
from topicledger.errors import IntegrityError
from topicledger.signups import SIGNUPS
from topicledger.steps.reconcile import reconcile

pytestmark = pytest.mark.both_databases
EVERY_KEY = True

APPLIED = ("already_loaded", "loaded", "duplicates", "dead_letters", "tombstones", "gap", "invisible")


def _batch_of_every_kind(case: Case) -> OneRun:
    """Stage a batch that has each term: partition 1 is loaded by another run after planning, the rest is not."""
    case.send([*(Record(good(n), partition=1) for n in range(5))])
    other = OneRun(case, "scheduled__1")
    other.consume()
    case.send([*sign_ups(range(10, 20)), Record(good(19)), Record(b"{"), Record(None)])
    aborted(case.topics.bootstrap, case.topic, sign_ups(range(90, 92)))
    case.topics.delete_records(case.topic, 0, 3)
    run = OneRun(case, "manual__1")
    run.produce((b"k", r.value) for r in sign_ups(range(30, 33)))
    run.consume(["gap:0:0:3"])
    other.load()
    return run


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SIGNUPS.key, id=pytest.HIDDEN_PARAM),
        pytest.param(None, id="keyless", marks=pytest.mark.slow),
    ],
)
def staged(
    request: pytest.FixtureRequest, module_case: Case, topics: Topics, tmp_path_factory: pytest.TempPathFactory
) -> OneRun:
    if request.param is None:
        own = make_case(topics, module_case.place, tmp_path_factory.mktemp("keyless"))
        return _batch_of_every_kind(own.changed(key=None, table="keyless"))
    return _batch_of_every_kind(module_case)


def tables(case: Case) -> list[Any]:
    """All that a load may change."""
    rows, dead_letters = case.pipeline.table, case.pipeline.dead_letter_table
    counted = [count(case.place, table) for table in (rows, dead_letters, "topicledger_batches")]
    return [counted, query(case.place, "SELECT * FROM topicledger_positions ORDER BY 1, 3, 4")]


def require_refused(run: OneRun, identity: str, load: Callable[[], object]) -> None:
    """The load fails naming the identity, and the warehouse is as before."""
    before = tables(run.case)
    with pytest.raises(IntegrityError, match=f"don't close: (.*; )?{identity}: "):
        load()
    assert tables(run.case) == before


def load_falsified(run: OneRun, method: str, term: str) -> None:
    with closing(run.case.warehouse()) as warehouse:
        OpenedRun(**vars(run), opened=Falsified(warehouse, method, term)).load()


@pytest.mark.parametrize("term", ["rows", "dead_letters", "tombstones", "distinct_coordinates", "outside_plan"])
def test_wrong_count_of_what_was_staged(staged: OneRun, term: str) -> None:
    """A wrong recount in the temporary tables is named I2."""
    require_refused(staged, "I2", lambda: load_falsified(staged, "count_staged", term))


@pytest.mark.parametrize("term", APPLIED)
def test_wrong_count_of_what_was_applied(staged: OneRun, term: str) -> None:
    """A wrong count of what the load did is named I3, or I4 for offsets without a record."""
    identity = "I4" if term in ("gap", "invisible") else "I3"
    require_refused(staged, identity, lambda: load_falsified(staged, "apply", term))


@pytest.mark.parametrize("term", ["applied", "position", "origin"])
def test_wrong_sum_over_the_ledger(staged: OneRun, term: str) -> None:
    """A ledger whose sum of applied isn't position less origin is named I4."""
    require_refused(staged, "I4", lambda: load_falsified(staged, "applied_sums", term))


@pytest.mark.parametrize("term", ["records", "invisible", "gap"])
@pytest.mark.parametrize("partition", [0, 1])
def test_wrong_count_of_what_was_read(staged: OneRun, partition: int, term: str) -> None:
    """A manifest whose partition doesn't add up to its range is named I1, for its partition."""
    manifest = json.loads(staged.manifest_path.read_bytes())
    manifest["partitions"][partition][term] += 1
    require_refused(staged, f"I1: partition {partition}", _load_with(staged, manifest))


def test_acknowledged_but_not_seen(staged: OneRun) -> None:
    """A record that the broker acknowledged and the read didn't see is named I5."""
    manifest = json.loads(staged.manifest_path.read_bytes())
    assert manifest["acked_seen"] == manifest["receipt"]["acked"] == 3
    manifest["receipt"]["acked"] = 1_000
    require_refused(staged, "I5", _load_with(staged, manifest))


def test_seen_more_than_acknowledged(staged: OneRun) -> None:
    """More of the attempt's records seen than the broker acknowledged is named I5."""
    manifest = json.loads(staged.manifest_path.read_bytes())
    manifest["acked_seen"] += 1
    require_refused(staged, "I5", _load_with(staged, manifest))


def test_own_batch_not_reached(staged: OneRun) -> None:
    """A position that ends before the run's own last record, with no cap that says so, is named I5."""
    manifest = json.loads(staged.manifest_path.read_bytes())
    for bounds in manifest["receipt"]["ranges"]:
        bounds[2] += 1
    require_refused(staged, "I5", _load_with(staged, manifest))


def _load_with(run: OneRun, manifest: Any) -> Callable[[], object]:
    """A load of the batch under another manifest; the file is put back afterwards."""

    def load() -> object:
        original = run.manifest_path.read_bytes()
        try:
            return run.with_manifest(json.dumps(manifest).encode()).load()
        finally:
            run.manifest_path.write_bytes(original)

    return load


def test_the_same_batch_unfalsified(duckdb_case: Case) -> None:
    """The batch that each lie stopped has every term above zero that it can have, and closes when nobody lies."""
    run = _batch_of_every_kind(duckdb_case)
    accounts = run.load()
    assert [term for term in APPLIED if not getattr(accounts, term)] == ([] if run.pipeline.key else ["duplicates"])
    assert run.reconcile() == accounts


@pytest.mark.parametrize(
    ("damage", "identity"),
    [
        ("UPDATE topicledger_positions SET position = position + 1 WHERE partition = 0", "I4"),
        pytest.param(
            "UPDATE topicledger_positions SET origin = origin + 1 WHERE partition = 1", "I4", marks=pytest.mark.slow
        ),
        pytest.param("DELETE FROM topicledger_batches WHERE run_id = 'manual__1'", "I4", marks=pytest.mark.slow),
        ("UPDATE topicledger_positions SET position = 0", "I5"),
    ],
)
def test_damaged_ledger(duckdb_case: Case, damage: str, identity: str) -> None:
    """A ledger that was changed by hand after the load makes reconciling fail, naming the identity."""
    case = duckdb_case
    for name in ("manual__1", "manual__2"):
        run = OneRun(case, name)
        run.produce((r.key, r.value) for r in sign_ups(range(10)))
        run.consume()
        run.load()
    run.reconcile()
    query(case.place, damage)
    assert run.row is not None
    books = reconcile(run, run.row.plan_id)
    with pytest.raises(IntegrityError, match=f"{identity}: "):
        books.require_closed()


def test_ledger_row_gone(duckdb_case: Case) -> None:
    """Reconciling a batch that the ledger no longer has fails, and says that the warehouse went back."""
    run = OneRun(duckdb_case)
    run.consume()
    run.load()
    query(duckdb_case.place, "DELETE FROM topicledger_batches")
    with pytest.raises(IntegrityError, match="restored or its ledger was changed"):
        run.reconcile()
