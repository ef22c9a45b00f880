"""What PostgreSQL says, as it is passed on."""

from __future__ import annotations

import psycopg

from topicledger.connection import Connection
from topicledger.warehouse.postgres.errors import connecting_failed, statement_failed


def test_an_answer_that_quotes_the_password() -> None:
    """Where the server or its driver quotes the password, the message doesn't."""
    settings = Connection("warehouse_default", "postgres", login="etl", password="hunter2")
    error = psycopg.OperationalError("can't go on with password=hunter2")
    for translated in (connecting_failed(error, settings), statement_failed(error, settings, ("event_id",))):
        said = str(translated)
        assert "hunter2" not in said
        assert "password=***" in said
