"""Grants that are missing or denied: the run stops where the grant would be used, and names it."""

from __future__ import annotations

import pytest

from tests.support.grants import documented_grants
from tests.support.records import good, sign_ups
from tests.support.secure_broker import Grant, SecureBroker
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import SettingsError

pytestmark = pytest.mark.slow
"""All need the broker with grants."""

NEXT = {
    ("TOPIC", "READ"): ("consume", "grant READ, WRITE and DESCRIBE on the topic to this user"),
    ("TOPIC", "WRITE"): ("produce", "grant WRITE on the topic to this user"),
    ("GROUP", "READ"): ("consume", "grant READ on the consumer groups with the pipeline's name as prefix"),
}


def require_stopped(run: OneRun, step: str, says: str) -> None:
    """The run stops at that step for a person, and nothing is loaded."""
    if step == "consume":
        run.produce([(b"1", good(1))])
    with pytest.raises(SettingsError) as stopped:
        run.produce([(b"1", good(1))]) if step == "produce" else run.consume()
    assert says in str(stopped.value)
    assert "kafka_default" in str(stopped.value)
    run.clean_up()
    assert run.case.staged_files() == []


@pytest.mark.fault(46, "stopped")
@pytest.mark.parametrize(("resource", "operation"), NEXT)
def test_each_documented_grant_is_needed(
    secure_broker: SecureBroker, secure_duckdb_case: Case, resource: str, operation: str
) -> None:
    """Without any one of the documented grants the run stops with the one that is missing; once given, it goes on."""
    user, extra = secure_broker.password_login()
    case = secure_duckdb_case.with_extra(extra)
    documented = documented_grants(case)
    assert {(grant.resource, grant.operation) for grant in documented} == set(NEXT)
    missing = [grant for grant in documented if (grant.resource, grant.operation) == (resource, operation)]
    secure_broker.allow(user, [grant for grant in documented if grant not in missing])
    require_stopped(OneRun(case), *NEXT[resource, operation])
    secure_broker.allow(user, missing)
    run_steps(case, "manual__2", records=[(b"9", good(9))])
    case.oracle().require_every_record_once()


@pytest.mark.fault(46, "stopped")
@pytest.mark.parametrize("step", ["produce", "consume"])
def test_a_topic_that_may_not_be_seen(secure_broker: SecureBroker, secure_duckdb_case: Case, step: str) -> None:
    """DESCRIBE that is denied, whatever else is allowed, stops either step and is named."""
    user, extra = secure_broker.password_login()
    case = secure_duckdb_case.with_extra(extra)
    secure_broker.allow(user, documented_grants(case))
    secure_broker.deny(user, Grant("TOPIC", case.topic, "DESCRIBE"))
    run = OneRun(case)
    with pytest.raises(SettingsError, match="grant READ, WRITE and DESCRIBE on the topic to this user"):
        run.produce([(b"1", good(1))]) if step == "produce" else run.consume()
    assert case.staged_files() == []


def test_a_run_that_only_consumes_needs_no_write(secure_broker: SecureBroker, secure_duckdb_case: Case) -> None:
    """Without WRITE a run that produces nothing loads what others produced."""
    user, extra = secure_broker.password_login()
    case = secure_duckdb_case.with_extra(extra)
    secure_broker.allow(user, [grant for grant in documented_grants(case) if grant.operation != "WRITE"])
    case.send(sign_ups(range(20), 2))
    assert run_steps(case).accounts.loaded == 20
    case.oracle().require_every_record_once()


def test_lag_tools_are_no_reason_to_fail(
    secure_broker: SecureBroker, secure_duckdb_case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """A user who may commit for its runs alone, not for the stable group, is warned; the books close."""
    user, extra = secure_broker.password_login()
    case = secure_duckdb_case.with_extra(extra)
    secure_broker.allow(user, [grant for grant in documented_grants(case) if grant.resource == "TOPIC"])
    secure_broker.allow(user, [Grant("GROUP", f"{case.pipeline.name}.", "READ", "PREFIXED")])
    case.send(sign_ups(range(20), 2))
    assert run_steps(case).accounts.loaded == 20
    assert any("only lag tools miss them" in message for message in caplog.messages)
    assert case.topics.committed(case.pipeline.name, case.topic) == {}
