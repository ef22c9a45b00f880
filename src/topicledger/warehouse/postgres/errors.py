"""What a failure of PostgreSQL means to the caller: by SQLSTATE, and by text where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg

from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.warehouse.sql.session import CHANGE_THE_RULE

# Class 08 connection, 40 rollback, 53 resources, 57P shutdown, 55P03 lock timeout, 57014 statement timeout,
# 25006 a server that is read-only for now (a standby), 25P03/25P04 idle or long transaction ended by the server,
# 58 its disk, XX its own bug.
_MAY_PASS = ("08", "40", "53", "57P", "55P03", "57014", "25006", "25P03", "25P04", "58", "XX")
# Class 28 login, 3D database, 42501 grant, 0A not supported by this server.
_A_PERSON_FIXES = ("28", "3D", "42501", "0A")
_TAKEN = "23505"
# Class 22 data, 23 constraint, 27 and 38 trigger and function, 39 and P0 PL/pgSQL, 44 a view's check.
_OF_A_VALUE = ("22", "23", "27", "38", "39", "44", "P0")
# At COMMIT these may come after it: 08 connection, 57 shut down or cancelled, 40003 unknown by its name.
_LEAVES_OPEN = ("08", "57", "40003")
# What of CONTEXT is no value, in any language: a line of a staged file, a function of a trigger.
_PLACE = re.compile(r"^(?:COPY \w+, \w+ \d+(?:, \w+ \w+)?|PL/\w+\W\w+ [\w.$\"]+\([^()\n]*\))", re.MULTILINE)

# A refused connection carries no SQLSTATE, only the server's or libpq's sentence.
_REFUSED_LOGIN = re.compile(
    r"authentication failed|no password supplied|pg_hba|does not exist|is not permitted|permission denied for database"
    r"|not allowed to|SSL|certificate|invalid (connection option|.*value|integer value|port)|unsupported",
)
_NOT_THERE_YET = re.compile(
    r"No such file or directory|Connection refused|starting up|shutting down|timeout", re.IGNORECASE
)


def connecting_failed(error: psycopg.Error, settings: Connection) -> TopicLedgerError:
    """Translate a connection that wasn't made; the message has host and database, never the password."""
    text = _without_password(" ".join(str(error).split()), settings)
    where = (
        f"connection {settings.conn_id}: can't connect to PostgreSQL at {settings.host or 'the default host'}, "
        f"database {settings.schema or 'by default'}, user {settings.login or 'by default'}: {text}"
    )
    if not _NOT_THERE_YET.search(text) and (isinstance(error, psycopg.ProgrammingError) or _REFUSED_LOGIN.search(text)):
        return SettingsError(
            f"{where}. Correct the connection's fields, or have the access granted", code="postgres-login-refused"
        )
    return RetriableError(f"{where}. Nothing was changed; try again", code="warehouse-unavailable")


def statement_failed(error: psycopg.Error, settings: Connection, key: tuple[str, ...]) -> TopicLedgerError:
    """Translate a failed statement; the transaction it was in is lost.

    Args:
        error: The driver's.
        settings: The connection.
        key: The columns of the pipeline's key. A row that took one during the load is there when the load is repeated.
    """
    state = error.sqlstate or ""
    where = f"connection {settings.conn_id}: PostgreSQL says {_said(error, settings)}"
    if state == "42501":
        return SettingsError(
            f"{where}. Grant it to user {settings.login or 'by default'}, or exempt that user from row-level security; "
            "nothing was changed",
            code="postgres-privilege-missing",
        )
    if state.startswith(_A_PERSON_FIXES):
        return SettingsError(f"{where}. Nothing was changed", code="postgres-refused")
    if state.startswith(_MAY_PASS) or (not state and isinstance(error, psycopg.OperationalError)):
        return RetriableError(f"{where}. Nothing was changed; try again", code="warehouse-unavailable")
    # "Key (event_id, day)=(...) already exists.", in any language; a name is quoted where it must be.
    columns = (error.diag.message_detail or "").partition("(")[2].partition(")=(")[0]
    if state == _TAKEN and {column.strip('"') for column in columns.split(", ")} == set(key):
        return RetriableError(
            f"{where}: another session wrote that {', '.join(key)} during the load. Nothing was changed; try again",
            code="key-taken-meanwhile",
        )
    if _of_a_value(error) and not (error.diag.context or "").startswith("COPY "):
        return IntegrityError(
            f"{where}. Nothing was changed. {CHANGE_THE_RULE}", code="rule-refuses-record", repeat="consume"
        )
    return IntegrityError(
        f"{where}. Nothing was changed. Look at the table, unless it comes from a staged file",
        code="statement-refused",
        repeat="consume",
    )


def commit_failed(error: psycopg.Error, settings: Connection, key: tuple[str, ...]) -> TopicLedgerError:
    """Translate a failed COMMIT. An ERROR of the server is its definite no; without one only the ledger tells.

    What it says after the commit it says as FATAL or PANIC: the session ends with it.
    """
    if error.diag.severity_nonlocalized == "ERROR" and not (error.sqlstate or "08").startswith(_LEAVES_OPEN):
        return statement_failed(error, settings, key)
    return RetriableError(
        f"connection {settings.conn_id}: it is unknown whether COMMIT succeeded ({_said(error, settings)}); the ledger "
        "tells when this is repeated",
        code="commit-unknown",
    )


def _said(error: psycopg.Error, settings: Connection) -> str:
    """What the server says, without what may be a record's value; the error says no more from here on.

    Those are in DETAIL and CONTEXT, in the message of an error about a value, and in whatever a function of
    somebody's raises. In their place stand the names that the server gives of what refused.
    """
    text = _without_password(error.diag.message_primary or " ".join(str(error).split()), settings)
    if error.sqlstate is None:
        return f"{type(error).__name__}: {text}"
    said = ", ".join(_names(error)) if _of_a_value(error) else f"{error.sqlstate}: {text}"
    # A log shows the cause, too.
    error.args = (said,)
    return said


def _of_a_value(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_OF_A_VALUE) or "PL/" in (error.diag.context or "")


def _names(error: psycopg.Error) -> Iterator[str]:
    """SQLSTATE and its name, and what refused: of the value only its column."""
    diag = error.diag
    yield f"{error.sqlstate} {type(error).__name__}"
    for kind, name in (
        ("constraint", diag.constraint_name),
        ("column", diag.column_name),
        ("type", diag.datatype_name),
        ("table", diag.table_name and f"{diag.schema_name}.{diag.table_name}"),
    ):
        if name:
            yield f"{kind} {name}"
    for place in _PLACE.finditer(diag.context or ""):
        yield place[0]


def _without_password(text: str, settings: Connection) -> str:
    return text.replace(settings.password, "***") if settings.password else text
