"""What a failure of Snowflake means to the caller: by its number, else by the kind of exception."""

from __future__ import annotations

from snowflake.connector import errors as snowflake

from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.warehouse.snowflake.connection import without_secrets

# A session or token that ended, an OAuth token that did: the next session gets another one.
_SESSION_ENDED = (390110, 390111, 390112, 390113, 390114, 390115, 390318)
# 604 cancelled, 625 lock timeout, 630 statement timeout.
_MAY_PASS = (604, 625, 630)
# 606 no warehouse, 2003 and 2043 not there or not granted, 3001 not granted, 9010x no database or schema.
_GRANT = (606, 2003, 2043, 3001, 90105, 90106)
_STATES_OF_A_VALUE = ("22", "23")
_MAY_PASS_STATES = ("08", "40", "53", "57", "XX")


def connecting_failed(error: snowflake.Error, settings: Connection) -> TopicLedgerError:
    """Translate a session that wasn't opened; the message has account and user, never a secret."""
    where = (
        f"connection {settings.conn_id}: can't open a session as user {settings.login or 'by default'}: "
        f"{_said(error, settings)}"
    )
    if _is_of_the_network(error) or error.errno in _SESSION_ENDED:
        return RetriableError(f"{where}. Nothing was changed; try again", code="warehouse-unavailable")
    return SettingsError(
        f"{where}. Correct the connection: account, user, key, role, warehouse", code="snowflake-login-refused"
    )


def failed(error: snowflake.Error, settings: Connection) -> TopicLedgerError:
    """Translate a failed statement; the transaction it was in is lost."""
    where = f"connection {settings.conn_id}: Snowflake says {_said(error, settings)}"
    number, state = error.errno or 0, error.sqlstate or ""
    if number in _GRANT or state == "42501" or _is_of_the_login(error):
        return SettingsError(
            f"{where}. Nothing was changed. Grant it to the connection's role, or name database, warehouse and role in "
            "the Extra; docs/warehouses/snowflake.md lists the grants",
            code="snowflake-privilege-missing",
        )
    if number in (*_MAY_PASS, *_SESSION_ENDED) or state.startswith(_MAY_PASS_STATES) or _is_of_the_network(error):
        return RetriableError(f"{where}. Nothing was changed; try again", code="warehouse-unavailable")
    return IntegrityError(
        f"{where}. Nothing was changed. Look at the table, unless it comes from a staged file",
        code="statement-refused",
        repeat="consume",
    )


def commit_failed(error: snowflake.Error, settings: Connection) -> TopicLedgerError:
    """Translate a failed COMMIT: Snowflake's own no, or only the ledger tells.

    What may pass at another statement is taken for open here: Snowflake's documents don't say what is committed then.
    """
    refused = failed(error, settings)
    if error.sfqid and not isinstance(refused, RetriableError):
        return refused
    return RetriableError(
        f"connection {settings.conn_id}: it is unknown whether COMMIT succeeded ({_said(error, settings)}); the ledger "
        "tells when this is repeated",
        code="commit-unknown",
    )


def _is_of_the_network(error: snowflake.Error) -> bool:
    """Whether nobody answered, or only with an HTTP status that may pass."""
    if isinstance(error, snowflake.RevocationCheckError):
        return False
    if isinstance(error, snowflake.DatabaseError):
        return isinstance(error, snowflake.OperationalError) and not _is_of_the_login(error)
    return not isinstance(error, snowflake.ForbiddenError | snowflake.BadRequest | snowflake.MethodNotAllowed)


def _is_of_the_login(error: snowflake.Error) -> bool:
    return (error.errno or 0) // 1000 == 390 and error.errno not in _SESSION_ENDED


def _said(error: snowflake.Error, settings: Connection) -> str:
    if (error.sqlstate or "").startswith(_STATES_OF_A_VALUE) and error.errno not in _GRANT:
        # Its message quotes the value, and a log shows the cause, too; QUERY_HISTORY has it.
        error.msg = f"{error.errno} ({error.sqlstate}), query {error.sfqid or 'unknown'}"
    return without_secrets(" ".join(str(error.msg or error).split()), settings)[:500]
