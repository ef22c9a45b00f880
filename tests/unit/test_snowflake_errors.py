"""What Snowflake says, as it is passed on. The numbers are those of its documents, not of an account."""

from __future__ import annotations

import pytest
from snowflake.connector import errors

from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.warehouse.snowflake.errors import commit_failed, connecting_failed, failed

SETTINGS = Connection("warehouse_default", "snowflake", login="loader", password="hunter2")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ProgrammingError("no privilege", errno=3001, sqlstate="42501"), SettingsError),
        (errors.ProgrammingError("does not exist or not authorized", errno=2003, sqlstate="02000"), SettingsError),
        (errors.ProgrammingError("no active warehouse", errno=606, sqlstate="57P03"), SettingsError),
        (errors.ProgrammingError("no current database", errno=90105, sqlstate="22000"), SettingsError),
        (errors.ProgrammingError("lock timeout", errno=625, sqlstate="57014"), RetriableError),
        (errors.ProgrammingError("statement timeout", errno=630, sqlstate="57014"), RetriableError),
        (errors.ProgrammingError("cancelled", errno=604, sqlstate="57014"), RetriableError),
        (errors.ProgrammingError("session gone", errno=390111, sqlstate="08001"), RetriableError),
        (errors.ProgrammingError("internal", errno=300010, sqlstate="XX000"), RetriableError),
        (errors.OperationalError("no answer", errno=250003), RetriableError),
        (errors.ServiceUnavailableError(), RetriableError),
        (errors.RequestTimeoutError(), RetriableError),
        (errors.InterfaceError("closed", errno=250002, sqlstate="08003"), RetriableError),
        (errors.ForbiddenError(), IntegrityError),
        (errors.ProgrammingError("NULL in a NOT NULL column", errno=100072, sqlstate="22000"), IntegrityError),
        (errors.ProgrammingError("invalid identifier", errno=904, sqlstate="42000"), IntegrityError),
    ],
    ids=lambda value: str(getattr(value, "msg", value.__name__ if isinstance(value, type) else value))[:30],
)
def test_a_failed_statement(error: errors.Error, kind: type[Exception]) -> None:
    """A missing grant is for a person, a lock or a lost connection passes, a refused value is looked at."""
    assert type(failed(error, SETTINGS)) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.DatabaseError("incorrect username or password", errno=390100, sqlstate="08001"), SettingsError),
        (errors.DatabaseError("JWT token is invalid", errno=390144, sqlstate="08001"), SettingsError),
        (errors.DatabaseError("role not granted", errno=390189, sqlstate="08001"), SettingsError),
        (errors.DatabaseError("verify the account name", errno=250001, sqlstate="08001"), SettingsError),
        (errors.ProgrammingError("account must be specified", errno=251001), SettingsError),
        (errors.RevocationCheckError(msg="revoked", errno=254007), SettingsError),
        (errors.DatabaseError("access token expired", errno=390318, sqlstate="08001"), RetriableError),
        (errors.OperationalError("could not connect", errno=250001, sqlstate="08001"), RetriableError),
    ],
    ids=lambda value: str(getattr(value, "msg", value.__name__ if isinstance(value, type) else value))[:30],
)
def test_a_refused_session(error: errors.Error, kind: type[Exception]) -> None:
    """A refused login is for a person, an account that doesn't answer is tried again."""
    assert type(connecting_failed(error, SETTINGS)) is kind


def test_an_answer_of_snowflake_that_quotes_the_password() -> None:
    """Where a message quotes the password, ours doesn't."""
    for translate in (connecting_failed, failed, commit_failed):
        said = str(translate(errors.OperationalError("can't go on with hunter2"), SETTINGS))
        assert "hunter2" not in said
        assert "***" in said


def test_answers_of_snowflake_to_commit() -> None:
    """Only what got no answer leaves it open whether a COMMIT succeeded."""
    refused = errors.ProgrammingError("a value 'x@y.z' is refused", errno=100072, sqlstate="22000", sfqid="01b2-3")
    said = commit_failed(refused, SETTINGS)
    assert isinstance(said, IntegrityError)
    assert "100072 (22000), query 01b2-3. Nothing was changed" in str(said)
    assert "x@y.z" not in f"{said} {refused}"
    for open_end in (
        errors.OperationalError("could not connect", errno=250001, sqlstate="08001"),
        errors.ProgrammingError("session gone", errno=390111, sqlstate="08001", sfqid="01b2-3"),
        errors.DatabaseError("connection is closed", errno=250002),
    ):
        assert "it is unknown whether COMMIT succeeded" in str(commit_failed(open_end, SETTINGS))
