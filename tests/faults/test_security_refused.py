"""Wrong credentials, on either side: the step stops at once and names the keys, and what may pass is tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.grants import documented_grants
from tests.support.records import good, sign_ups
from tests.support.secure_broker import Login, SecureBroker
from tests.support.steps import Case, OneRun, run_steps
from topicledger import retries
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError

pytestmark = pytest.mark.slow
"""All need the broker with TLS."""

LOGIN, SERVER, CLIENT, TOKEN = "sasl.password", "ssl.ca.pem", "ssl.certificate", "sasl.oauthbearer"

Wrong = Callable[[SecureBroker, Login], dict[str, Any]]
WRONG: dict[str, tuple[str, Wrong, str]] = {
    "password": ("password", lambda _b, _l: {"sasl.password": "not-the-password"}, LOGIN),
    "user": ("password", lambda _b, _l: {"sasl.username": "nobody"}, LOGIN),
    "mechanism": ("password", lambda _b, _l: {"sasl.mechanism": "PLAIN"}, "sasl.mechanism"),
    "unknown authority": ("password", lambda _b, _l: {"ssl.ca.pem": Authority("another").pem}, SERVER),
    "expired server": ("password", lambda b, _l: {"bootstrap.servers": b.address("EXPIRED")}, SERVER),
    "another host": ("password", lambda b, _l: {"bootstrap.servers": b.address("ELSEWHERE")}, SERVER),
    "expired client": ("certificate", lambda b, login: _certificate(b.authority, login.user, expired=True), CLIENT),
    "unknown client": ("certificate", lambda _b, login: _certificate(Authority("another"), login.user), CLIENT),
    "client secret": ("token", lambda _b, _l: {"sasl.oauthbearer.client.secret": "not-the-secret"}, TOKEN),
    "endpoint's authority": ("token", lambda _b, _l: {"https.ca.pem": Authority("another").pem}, "https.ca.pem"),
}


def _certificate(authority: Authority, user: str, *, expired: bool = False) -> dict[str, Any]:
    made = authority.client(user, expired=expired)
    return {"ssl.certificate.pem": made.certificate, "ssl.key.pem": made.key}


def require_both_steps_fail(case: Case, kind: type[TopicLedgerError]) -> list[str]:
    """Produce and consume both fail so, and nothing is produced or staged."""
    run, messages = OneRun(case), []
    with pytest.raises(kind) as refused:
        run.produce((r.key, r.value) for r in sign_ups(range(3)))
    messages.append(str(refused.value))
    with pytest.raises(kind) as refused:
        run.consume()
    messages.append(str(refused.value))
    assert set(case.topics.ends(case.topic).values()) == {0}
    assert case.staged_files() == []
    return messages


@pytest.mark.fault(47, "stopped")
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_credentials_stop_the_run(secure_broker: SecureBroker, secure_duckdb_case: Case, wrong: str) -> None:
    """Wrong credentials or certificates stop a step at once, without retries, with the keys to look at."""
    way, change, step = WRONG[wrong]
    login: Login = getattr(secure_broker, f"{way}_login")()
    secure_broker.allow(login.user, documented_grants(secure_duckdb_case))
    extra = {**login.extra, **change(secure_broker, login)}
    for message in require_both_steps_fail(secure_duckdb_case.with_extra(extra), SettingsError):
        assert "credentials or certificates were refused" in message
        assert step in message.partition("Next: ")[2]
        assert "kafka_default" in message
        for key in ("sasl.password", "sasl.oauthbearer.client.secret"):
            assert str(extra.get(key, "no such secret")) not in message
    run_steps(secure_duckdb_case.with_extra(login.extra), records=[(b"1", good(1))])
    secure_duckdb_case.oracle().require_every_record_once()


@pytest.mark.fault(47, "stopped")
@pytest.mark.parametrize(
    ("key", "value"),
    [("enable.ssl.certificate.verification", "false"), ("ssl.endpoint.identification.algorithm", "none")],
)
def test_verification_is_never_turned_off(
    secure_broker: SecureBroker, secure_duckdb_case: Case, key: str, value: str
) -> None:
    """A connection that would take any certificate for the broker's is refused, where it could be caught by it."""
    login = secure_broker.password_login()
    elsewhere = {"bootstrap.servers": secure_broker.address("ELSEWHERE"), key: value}
    case = secure_duckdb_case.with_extra({**login.extra, **elsewhere})
    for message in require_both_steps_fail(case, SettingsError):
        assert f"{key} in its Extra lets anybody pose as the broker" in message


def test_a_token_endpoint_that_is_down_is_tried_again(
    secure_broker: SecureBroker, secure_duckdb_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token endpoint that hangs up is no wrong secret: the step may be tried again, and then goes through."""
    monkeypatch.setattr(retries, "RETRY_S", 0.5)
    login = secure_broker.token_login()
    secure_broker.allow(login.user, documented_grants(secure_duckdb_case))
    case = secure_duckdb_case.with_extra(login.extra)
    with secure_broker.endpoint.hanging_up_on(login.user):
        for message in require_both_steps_fail(case, RetriableError):
            assert "OAUTHBEARER token" in message
    run_steps(case, records=[(b"1", good(1))])
    case.oracle().require_every_record_once()


@pytest.mark.parametrize(("listener", "protocol"), [("SCRAM", "PLAINTEXT"), ("PLAINTEXT", "SASL_SSL")])
def test_the_wrong_protocol_is_named_as_the_likely_cause(
    secure_broker: SecureBroker,
    secure_duckdb_case: Case,
    monkeypatch: pytest.MonkeyPatch,
    listener: str,
    protocol: str,
) -> None:
    """A protocol that the listener doesn't speak looks like a broker that goes away: tried again, with the hint."""
    monkeypatch.setattr(retries, "RETRY_S", 0.5)
    login = secure_broker.password_login()
    other = {"bootstrap.servers": secure_broker.address(listener), "security.protocol": protocol}
    case = secure_duckdb_case.with_extra({**login.extra, **other})
    for message in require_both_steps_fail(case, RetriableError):
        assert "security.protocol" in message or "PLAINTEXT broker listener?" in message
