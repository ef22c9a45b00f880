"""A database that can't hold what the judge lets through, or hides rows: refused by the run and by the check."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command, connected, problems
from tests.support.looking import count, query
from tests.support.records import Record, good, sign_ups
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import SettingsError

pytestmark = pytest.mark.both_databases


@pytest.fixture
def latin1(postgres_settings: Connection) -> Iterator[Connection]:
    """A database of ENCODING LATIN1 on the same server."""
    name = f"{postgres_settings.schema}_latin1"
    query(postgres_settings, f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    yield dataclasses.replace(postgres_settings, schema=name)
    query(postgres_settings, f"DROP DATABASE {name}")


@pytest.fixture
def role(postgres_settings: Connection) -> Iterator[Connection]:
    """A role that may do all that the owner may, and isn't the owner."""
    name = f"loader_{postgres_settings.schema}"
    query(postgres_settings, f"CREATE ROLE {name} LOGIN")
    yield dataclasses.replace(postgres_settings, login=name)
    query(postgres_settings, f"DROP OWNED BY {name}")
    query(postgres_settings, f"DROP ROLE {name}")


def refused(case: Case, command: Command) -> str:
    """What the next run is refused with, before it reads anything, which is all that the check finds as well."""
    connected(command, case)
    run = OneRun(case, "refused")
    with pytest.raises(SettingsError) as found:
        run.finish()
    assert problems(command("check")) == [f"warehouse_default: {found.value.message}"]
    assert case.staged_files() == []
    return found.value.message


@pytest.mark.fault(140, "stopped")
def test_a_name_that_the_database_has_no_letters_for(
    command: Command, topics: Topics, latin1: Connection, tmp_path: Path
) -> None:
    """A user name with a Polish letter doesn't end the load: a LATIN1 database is refused, with what to do."""
    case = make_case(topics, latin1, tmp_path)
    case.send([Record(good(1, username="Łukasz"))])
    said = refused(case, command)
    assert f"database {latin1.schema} has the encoding LATIN1" in said
    assert said.endswith("create a database with ENCODING 'UTF8' TEMPLATE template0, and name it in the connection")


@pytest.mark.fault(141, "stopped")
@pytest.mark.parametrize(
    "table",
    [
        "user_signups",
        *(pytest.param(f"topicledger_{name}", marks=pytest.mark.slow) for name in ("positions", "schema")),
    ],
)
def test_rows_that_a_policy_hides(
    command: Command,
    topics: Topics,
    postgres_settings: Connection,
    role: Connection,
    tmp_path: Path,
    table: str,
) -> None:
    """Row-level security without a policy is called what it is; with the statement given, the next run loads."""
    admin = make_case(topics, postgres_settings, tmp_path)
    run_steps(admin)
    query(postgres_settings, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role.login}")
    query(postgres_settings, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    case = dataclasses.replace(admin, place=role)
    case.send(sign_ups(range(3)))
    said = refused(case, command)
    assert f'row-level security on "public"."{table}" holds for user {role.login}, who must see every row: ' in said
    query(postgres_settings, said.rpartition(": ")[2])
    assert problems(command("check")) == []
    run_steps(case, "exempt")
    assert count(postgres_settings, "user_signups") == 3
