"""Nothing is created in the warehouse before the declaration has held for a batch."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.support.looking import contents
from tests.support.object_store import ObjectStore
from tests.support.records import Record, sign_ups
from tests.support.steps import Case, OneRun
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.pipeline import CleanUp
from topicledger.signups import clean
from topicledger.steps.plan import Planner

pytestmark = pytest.mark.both_databases

EVERY = ("duckdb", "postgres", "folder", pytest.param("s3", marks=pytest.mark.slow))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Connection:
    """DuckDB, or the kind that the test asks for."""
    found = request.getfixturevalue(f"{getattr(request, 'param', 'duckdb')}_settings")
    assert isinstance(found, Connection)
    return found


def failing() -> CleanUp:
    """A clean-up that no empty batch gives away."""
    return lambda columns: {**clean(columns), "email": columns["email"].cast(pa.int64()).cast(pa.string())}


@pytest.mark.fault(131, "stopped")
@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_a_first_run_that_is_refused(case: Case, place: Connection, request: pytest.FixtureRequest) -> None:
    """A batch that the clean-up fails for, or beyond its error budget, leaves no table, file or folder.

    Nor does it where another pipeline has its tables in the same schema.
    """
    store: ObjectStore | None = request.getfixturevalue("object_store") if place.conn_type == "aws" else None
    case.send([*sign_ups(range(6), partitions=2), Record(b"{")])
    wrong: tuple[tuple[Case, type[TopicLedgerError], str], ...] = (
        (case.changed(clean=failing()), SettingsError, "failed with ArrowInvalid"),
        (case.changed(error_budget=0.1), IntegrityError, "the error budget is 0.1"),
    )
    for _ in range(2):
        before = contents(place, store)
        for refused, kind, says in wrong:
            with pytest.raises(kind, match=says):
                OneRun(refused).consume()
            assert contents(place, store) == before
        OneRun(case.changed(table="of_another_pipeline")).consume()
    accounts = OneRun(case).finish()
    assert (accounts.loaded, accounts.dead_letters) == (6, 1)


def test_another_run_begins_the_books_meanwhile(duckdb_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two first runs with `latest` the one judged later plans again, when the other one's books begin behind it."""
    case = duckdb_case.changed(origin="latest")
    case.send(sign_ups(range(4), partitions=2))
    first, other, begin = OneRun(case, "first"), OneRun(case, "other"), Planner.begin_books

    def begin_second(planner: Planner) -> tuple[str, ...]:
        monkeypatch.setattr(Planner, "begin_books", begin)
        case.send(sign_ups(range(4, 10), partitions=2))
        other.consume()
        return begin(planner)

    monkeypatch.setattr(Planner, "begin_books", begin_second)
    with pytest.raises(RetriableError, match=r"another run began the books at 5 and is at 5\. Nothing was staged"):
        first.consume()
    assert other.staged is not None
    case.send(sign_ups(range(10, 12), partitions=2))
    assert first.finish().loaded == 2
    case.oracle().require_every_record_once(before_origin=10)
