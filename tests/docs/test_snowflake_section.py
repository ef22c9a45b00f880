"""What the page on Snowflake says is the code's, and its first line is honest."""

from __future__ import annotations

import re

from tests.contract.places import NOT_EMULATED, NOT_ON_SNOWFLAKE
from tests.docs.pages import ROOT, fences, first_spans, read, spans, table
from topicledger.connection import Connection
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.snowflake.connection import EXTRA

TEXTS = ROOT / "tests" / "unit" / "snowflake"
PAGE = read("docs/warehouses/snowflake.md")


def test_its_first_line_says_that_it_never_ran() -> None:
    """Nobody reads on without having read it; it stays until the contract has run on an account."""
    assert PAGE.splitlines()[2].startswith("This has never run on a real account")


def test_the_fields_are_those_that_are_taken() -> None:
    """Every key of the Extra is listed, in order."""
    assert first_spans(table(PAGE, "Fields")) == list(EXTRA)


def test_cases_that_do_not_run_are_named() -> None:
    """The matrix names each case of the contract that the emulator doesn't run."""
    assert {*NOT_ON_SNOWFLAKE, *NOT_EMULATED} <= set(spans(PAGE))


def test_the_grants_are_on_every_table() -> None:
    """Each table that is created has its grants, by its name in Snowflake."""
    extra = {"account": "a", "database": "d", "warehouse": "w"}
    ddl = open_warehouse(Connection("w", "snowflake", login="l", extra=extra), SIGNUPS).ddl()
    grants = "".join(code for _, code in fences(PAGE) if "GRANT" in code)
    created = re.findall(r'CREATE TABLE IF NOT EXISTS "(\w+)"\."(\w+)"', ddl)
    assert len(created) == 5
    for schema, name in created:
        assert f" ON ANALYTICS.{schema}.{name} TO ROLE ETL" in grants, name


def test_the_texts_are_there() -> None:
    """Every file of statements that it names is one that the tests compare."""
    named = [span for span in spans(PAGE) if span.startswith("tests/unit/snowflake/")]
    assert sorted(named) == sorted(f"tests/unit/snowflake/{path.name}" for path in TEXTS.iterdir())
