"""What of a PostgreSQL database decides whether it holds, and shows, all that a run loads: asked at once, up front."""

from __future__ import annotations

from collections.abc import Iterator

from topicledger.errors import SettingsError
from topicledger.warehouse.sql.dialect import quoted
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.tables import Tables

# A line for each table with row-level security, and one where there is none.
_ASKED = """
    SELECT current_user, current_database(), pg_is_in_recovery(), getdatabaseencoding(),
           c.relname, pg_has_role(c.relowner, 'USAGE')
    FROM (VALUES (1)) AS v(one)
    LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)
      ON n.nspname = %s AND c.relname = ANY (CAST(%s AS text[])) AND c.relkind IN ('r', 'p')
     AND row_security_active(c.oid)
    ORDER BY c.relname
"""


def unfit(session: Session, tables: Tables) -> Iterator[str]:
    """Say what would make a run fail at some record, or count what it can't see; each with the next step.

    Row-level security counts wherever it is active for this user, whatever the policies say: what they hide can't be
    asked from behind them. No transaction of ours takes an answer that they filter (docs/decisions/0027).

    Args:
        session: Its transaction is open.
        tables: The pipeline's; they need not be there yet.

    Raises:
        SettingsError: It is a standby, of which nothing else need be said.
    """
    names = {table.name: table.sql for table in tables.all}
    answers = session.query(_ASKED, (tables.schema, list(names)))
    user, database, standby, encoding = answers[0][:4]
    if standby:
        raise SettingsError(
            f"database {database} is a standby, which takes no writes: connect to the primary", code="postgres-standby"
        )
    if encoding != "UTF8":
        yield (
            f"database {database} has the encoding {encoding}, and UTF8 alone holds every text that a record may have: "
            "create a database with ENCODING 'UTF8' TEMPLATE template0, and name it in the connection"
        )
    secured = [(names[name], owner) for *_, name, owner in answers if name is not None]
    if others := [table for table, owner in secured if not owner]:
        yield _secured(
            ", ".join(others), user, f"make it their owner, or exempt it: ALTER ROLE {quoted(user)} BYPASSRLS"
        )
    for table in (table for table, owner in secured if owner):
        yield _secured(table, user, f"exempt the owner: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")


def _secured(tables: str, user: str, remedy: str) -> str:
    return f"row-level security on {tables} holds for user {user}, who must see every row: {remedy}"
