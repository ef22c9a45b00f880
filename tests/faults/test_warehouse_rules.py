"""A rule of the user's own on the table refuses a record: the load stops at once, and says where the record is."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from tests.support.looking import count, query
from tests.support.records import Record, good, sign_ups
from tests.support.steps import OneRun, make_case
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import IntegrityError

EMAIL = "somebody@private.example"


@pytest.mark.fault(113, "stopped")
@pytest.mark.parametrize("deferred", ["", " DEFERRABLE INITIALLY DEFERRED"], ids=["at once", "deferred"])
def test_a_second_event_of_the_same_e_mail(
    topics: Topics,
    postgres_settings: Connection,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    deferred: str,
) -> None:
    """Whether the constraint is looked at with the insert or left to COMMIT, its answer is the same and definite."""
    case = make_case(topics, postgres_settings, tmp_path)
    table = case.pipeline.table
    first = OneRun(case, "first")
    case.send([*sign_ups(range(20), partitions=2), Record(good(100, email=EMAIL))])
    first.finish()
    query(case.place, f"ALTER TABLE {table} ADD CONSTRAINT one_account UNIQUE (email){deferred}")
    case.send([*sign_ups(range(20, 60), partitions=2), Record(good(101, email=EMAIL), partition=1)])
    run = OneRun(case, "second")
    run.consume()
    with pytest.raises(IntegrityError) as refused:
        run.load()
    error = refused.value
    assert f"PostgreSQL says 23505 UniqueViolation, constraint one_account, table public.{table}." in str(error)
    assert (error.topic, error.partition, error.offset) == (case.topic, 1, 30)
    assert EMAIL not in caplog.text + "".join(traceback.format_exception(error))
    assert "trying again" not in caplog.text
    assert count(case.place, table) == 21
    # Without the rule the very same staged files load.
    query(case.place, f"ALTER TABLE {table} DROP CONSTRAINT one_account")
    assert run.load().loaded == 41
    run.reconcile()
    case.oracle().require_every_record_once()
