"""Breaks of what is Snowflake's own: its lock, its transaction, what it is sent. Noticed by text: no account runs."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SNOWFLAKE = (
    Mutant(
        "Snowflake loads without the update that loaders wait on",
        ("step 14", "guarantee 3"),
        'self.touch(positions_table, "generation", " WHERE target = ?", (target,))',
        "del positions_table, target",
        ("test_the_statements_of_a_load",),
        within="SnowflakeSession",
    ),
    Mutant(
        "Snowflake's copy is in the transaction that loads",
        ("step 14",),
        'self._end_transaction() self.execute("BEGIN TRANSACTION")',
        'self.execute("BEGIN TRANSACTION")',
        ("test_the_statements_of_a_load",),
    ),
    Mutant(
        "Snowflake commits another transaction than it locked in",
        ("step 19", "guarantee 3"),
        "if self._transaction is not None and self._current_transaction() != self._transaction:",
        "if False:",
        ("test_a_transaction_that_was_ended_is_not_committed",),
    ),
    Mutant(
        "Snowflake's COPY may leave records out",
        ("step 13", "guarantee 1"),
        "if loaded != sent:",
        "if False:",
        ("test_fewer_rows_than_were_sent",),
    ),
    Mutant(
        "Snowflake's statements commit one by one",
        ("step 19", "guarantee 3"),
        '"autocommit": False,',
        '"autocommit": True,',
        ("test_what_a_session_is_opened_with",),
    ),
    Mutant(
        "Snowflake goes on after a failed statement where the connection says so",
        ("step 19", "settings"),
        '{**_WAITING, **extra.get("session_parameters", {}), **_SESSION}',
        '{**_WAITING, **_SESSION, **extra.get("session_parameters", {})}',
        ("test_parameters_that_the_load_rests_on_stay",),
    ),
    Mutant(
        "Snowflake is spoken to in plain text anywhere",
        ("settings", "secrets"),
        'if given.get("protocol", "https") != "https" and given.get("host") not in LOOPBACK:',
        "if False:",
        ("test_an_extra_that_cannot_work",),
    ),
    Mutant(
        "Snowflake's messages may show a secret",
        ("secrets",),
        'text = text.replace(str(secret), "***")',
        "pass",
        ("test_secrets_leave_messages",),
    ),
    Mutant(
        "Snowflake gets keys in any spelling",
        ("step 18", "guarantee 5"),
        "return _canonical(array, column.name)",
        "return array",
        ("test_what_is_no_uuid", "unit/test_snowflake_files.py::test_values"),
    ),
    Mutant(
        "Snowflake's version table is created without its row",
        ("settings",),
        "return (*others, self._create_with_version(dialect))",
        "return (*others, self.version.ddl(dialect))",
        ("test_the_statements_that_create_tables",),
    ),
)
