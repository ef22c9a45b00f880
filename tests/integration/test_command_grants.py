"""What `topicledger check` says of permissions, asked of real servers and file systems, never tried."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.postgres import running_postgres
from tests.support.command import Command, Ran, connected, problems
from tests.support.grants import documented_grants
from tests.support.looking import query
from tests.support.places import duckdb_file, lake_folder
from tests.support.records import sign_ups
from tests.support.secure_broker import Grant, SecureBroker
from tests.support.steps import Case, OneRun, make_case, run_steps
from tests.support.topics import Topics
from topicledger.connection import Connection
from topicledger.errors import RetriableError, SettingsError


@pytest.fixture
def role(postgres_settings: Connection) -> Iterator[Connection]:
    """The same database as a role that may connect, and nothing else that isn't granted to it."""
    name = f"role_{postgres_settings.schema}"
    for statement in (
        f'CREATE ROLE "{name}" LOGIN',
        f"REVOKE ALL ON DATABASE {postgres_settings.schema} FROM PUBLIC",
        f'GRANT CONNECT ON DATABASE {postgres_settings.schema} TO "{name}"',
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    ):
        query(postgres_settings, statement)
    yield dataclasses.replace(postgres_settings, login=name)
    query(postgres_settings, f'DROP OWNED BY "{name}" CASCADE')
    query(postgres_settings, f'DROP ROLE "{name}"')


@pytest.mark.parametrize("there", [False, True])
def test_grants_in_postgresql(
    command: Command,
    topics: Topics,
    postgres_settings: Connection,
    role: Connection,
    tmp_path: Path,
    there: bool,
) -> None:
    """Each missing grant is a problem with the statement that gives it; with those, and no others, a run passes."""
    admin = make_case(topics, postgres_settings, tmp_path)
    if there:
        run_steps(admin)
    case = dataclasses.replace(admin, place=role)
    connected(command, case)
    told: list[str] = []
    while found := problems(command("check")):
        told += found
        assert len(told) < 12
        for problem in found:
            query(postgres_settings, problem.rpartition(": ")[2])
    names = [problem.partition(" lacks ")[2].partition(" on ")[0] for problem in told]
    of_tables = ["SELECT, INSERT", "INSERT", "SELECT, INSERT, UPDATE", "SELECT, INSERT", "SELECT"]
    assert names == ["TEMPORARY", "USAGE", *(of_tables if there else ["CREATE"])]
    case.send(sign_ups(range(5)))
    assert run_steps(case, "as_role").accounts.loaded == 5


def test_tables_that_may_not_be_created(
    topics: Topics, postgres_settings: Connection, role: Connection, tmp_path: Path
) -> None:
    """A run is refused what creating its tables would be refused before it asks for its topic, as the check says it."""
    case = dataclasses.replace(make_case(topics, postgres_settings, tmp_path), place=role).changed(
        topic="no_such_topic"
    )
    for granted in (f"TEMPORARY ON DATABASE {role.schema}", "USAGE ON SCHEMA public"):
        query(postgres_settings, f'GRANT {granted} TO "{role.login}"')
    with pytest.raises(
        SettingsError, match=r"user_signups can't be created: user \S+ lacks CREATE on SCHEMA .*: GRANT"
    ):
        OneRun(case).consume()


@pytest.mark.slow
def test_a_schema_that_this_user_may_not_create(
    command: Command, topics: Topics, postgres_settings: Connection, role: Connection, tmp_path: Path
) -> None:
    """The statement that makes a schema of this user's own is given, and is enough."""
    case = make_case(topics, role, tmp_path).changed(table="landing.signups")
    query(postgres_settings, f'GRANT TEMPORARY ON DATABASE {role.schema} TO "{role.login}"')
    connected(command, case, table="landing.signups")
    (problem,) = problems(command("check"))
    query(postgres_settings, problem.rpartition(": ")[2])
    assert problems(command("check")) == []
    run_steps(case)


@pytest.mark.slow
def test_a_standby(command: Command, duckdb_case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A PostgreSQL that only replays another's log is named: it takes no writes."""
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        place = Connection("w", "postgres", host=server.host, login=server.user, schema="postgres")
        case = dataclasses.replace(duckdb_case, place=place)
        run_steps(case)
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        connected(command, case)
        (problem,) = problems(command("check"))
        with pytest.raises(RetriableError, match=r"is a standby.* connect to the primary, or wait until"):
            case.warehouse().ensure_tables()
    assert "database postgres is a standby, which takes no writes: connect to the primary" in problem


def mortal(command: Command) -> Ran:
    """Run the check as a user whom the modes of files hold for, which they don't for root."""
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = [sys.executable, "-c", "from topicledger.cli.app import main; main()", "check"]
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*without, *program], env=environment, cwd=command.folder, capture_output=True, text=True, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("kind", ["duckdb", "fs"])
def test_a_place_that_this_user_may_not_write(
    command: Command, topics: Topics, tmp_path: Path, kind: str, there: bool
) -> None:
    """Whether the files are there or have to be created, the path that refuses is named, and nothing is tried."""
    parent = tmp_path / "parent"
    parent.mkdir()
    place = duckdb_file(parent) if kind == "duckdb" else lake_folder(parent)
    case = make_case(topics, place, tmp_path)
    connected(command, case)
    if there:
        run_steps(case)
    path = Path(str(place.extra.get("path") or place.host))
    closed = path if there else parent
    mode = closed.stat().st_mode
    closed.chmod(0o500 if closed.is_dir() else 0o400)
    try:
        (problem,) = problems(mortal(command))
    finally:
        closed.chmod(mode)
    assert f"this user may not write {'into ' if closed.is_dir() else ''}{closed}: grant it" in problem
    assert path.exists() == there


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [("TOPIC", "READ"), ("TOPIC", "WRITE"), ("GROUP", "READ"), None])
def test_grants_on_the_broker(
    command: Command, secure_broker: SecureBroker, tmp_path: Path, lacking: tuple[str, str] | None
) -> None:
    """Each of the documented grants that is missing is a problem that names it; with all of them there is none."""
    user, extra = secure_broker.password_login()
    case = make_case(Topics(secure_broker.bootstrap), duckdb_file(tmp_path), tmp_path).with_extra(extra)
    documented = documented_grants(case)
    secure_broker.allow(user, [grant for grant in documented if (grant.resource, grant.operation) != lacking])
    connected(command, case)
    ran = command("check")
    found = problems(ran)
    assert len(found) == (lacking is not None)
    if lacking is not None:
        resource, operation = lacking
        name = f"READ on groups prefixed {case.pipeline.name}" if resource == "GROUP" else f"{operation} on it"
        assert f"grant {name}" in found[0]
    assert "isn't known to this user: grant DESCRIBE_CONFIGS on it" in ran.out
    secure_broker.allow(user, [*documented, Grant("TOPIC", case.topic, "DESCRIBE_CONFIGS")])
    ran = command("check")
    assert problems(ran) == []
    assert "keeps records for 7 days" in ran.out


@pytest.mark.slow
def test_a_topic_that_may_not_be_seen(command: Command, secure_broker: SecureBroker, tmp_path: Path) -> None:
    """Without any grant on the topic the missing ones are named, on one line."""
    _, extra = secure_broker.password_login()
    case = make_case(Topics(secure_broker.bootstrap), duckdb_file(tmp_path), tmp_path).with_extra(extra)
    connected(command, case)
    (problem,) = problems(command("check"))
    assert "grant READ, WRITE and DESCRIBE on the topic to this user" in problem
