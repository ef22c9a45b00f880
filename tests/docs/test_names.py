"""The names that the documents give are those of the code, and where a table is complete, all of them."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from pathlib import Path

from tests.docs import dag_file
from tests.docs.pages import ROOT, first_spans, parsed, read, section, sources, spans, table, tables
from topicledger.cli.app import app
from topicledger.kafka.settings import CALLBACK_KEYS, REFUSED_KEYS, SECRET_KEYS
from topicledger.model.accounts import Accounts
from topicledger.pipeline import Pipeline
from topicledger.signups import SIGNUPS
from topicledger.warehouse.sql.tables import BATCHES, OWN, POSITIONS, dead_letter_columns

README = read("README.md")
REFERENCE = read("docs/reference.md")
GUARANTEE = read("docs/delivery-guarantee.md")
OWN_COLUMNS = [column.name for column in OWN]


def where(what: str) -> list[str]:
    """Give the code spans of a row of reference.md's table of names."""
    rows = {row[0]: row[1] for row in table(REFERENCE, "What is where afterwards")}
    return spans(rows[what])


def test_the_table_of_params_is_that_of_the_dag_file() -> None:
    """reference.md lists every param with its default."""
    rows = {spans(row[0])[0]: row[1] for row in table(REFERENCE, "Configuration")}
    assert rows == {name: "null" if value is None else str(value) for name, value in dag_file.params().items()}


def test_tasks_and_xcom_keys_are_those_of_the_dag_file() -> None:
    """reference.md and ARCHITECTURE name every task; reference.md names every XCom key."""
    assert set(where("tasks")) == dag_file.task_ids()
    assert set(first_spans(table(read("ARCHITECTURE.md"), "One run"))) == dag_file.task_ids()
    assert set(where("XCom")) == dag_file.xcom_keys()


def test_columns_are_those_of_the_tables() -> None:
    """reference.md lists every column of rows and dead letters, in order."""
    rows, dead_letters = where("rows"), where("dead letters")
    assert rows == [SIGNUPS.table, *(column.name for column in SIGNUPS.columns), *OWN_COLUMNS]
    own = [column.name for column in dead_letter_columns("bytes")]
    assert dead_letters == [SIGNUPS.dead_letter_table, *own]


def test_the_ledgers_columns_are_those_of_the_tables() -> None:
    """delivery-guarantee.md lists every column of the ledger's tables, in order."""
    assert first_spans(table(GUARANTEE, "`topicledger_positions`")) == [column.name for column in POSITIONS]
    assert first_spans(table(GUARANTEE, "`topicledger_batches`")) == [column.name for column in BATCHES]
    assert where("ledger") == ["topicledger_positions", "topicledger_batches", "topicledger_schema"]


def test_accounts_are_those_of_the_model() -> None:
    """reference.md and delivery-guarantee.md list every account."""
    assert where("accounts") == list(Accounts.__struct_fields__)
    assert first_spans(table(GUARANTEE, "The accounts")) == list(Accounts.__struct_fields__)


def test_identities_are_those_of_the_model() -> None:
    """delivery-guarantee.md has exactly the identities that the model evaluates."""
    evaluated = set(re.findall(r'Identity\(\s*"(I\d)"', read("src/topicledger/model/accounts.py")))
    assert {row[0] for row in table(GUARANTEE, "The identities")} == evaluated == {"I1", "I2", "I3", "I4", "I5"}


def test_commands_exist() -> None:
    """reference.md lists every command, and no document uses another command or option."""
    callbacks = {command.callback for command in app.registered_commands}
    names = {callback.__name__ for callback in callbacks if callback is not None}
    assert {span.removeprefix("topicledger ") for span in where("command")} == names
    options = set(re.findall(r'"(--[a-z-]+)"', read("src/topicledger/cli/app.py")))
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for command, rest in re.findall(r"topicledger (init|check|plan|accounts)\b([^\n`]*)", document.read_text()):
            assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= options, (document.name, command, rest)


def test_make_targets_exist() -> None:
    """get-started.md's table has every target of the Makefile, and no document names another."""
    declared = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    named = [span for row in tables(read("docs/get-started.md"))[0][1:] for span in spans(row[0])]
    assert {span.removeprefix("make ") for span in named} == declared
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        used = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert used <= declared, (document.name, used - declared)


def test_what_the_robustness_table_names_is_there() -> None:
    """Each feature's file exists and defines the symbols."""
    rows = table(REFERENCE, "Robustness: what, and where it lives")
    assert len(rows) > 15
    for feature, file, symbols in rows:
        (name,) = spans(file)
        assert set(spans(symbols)) <= defined(name), feature


def defined(name: str) -> set[str]:
    """Give the names of functions, classes and variables that a file defines."""
    found: set[str] = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_the_map_lists_every_module() -> None:
    """ARCHITECTURE.md lists each module of dags/ and src/ once, and none that isn't there."""
    listed = [
        span for span in spans(section(read("ARCHITECTURE.md"), "The map")) if re.match(r"(dags|src)/.*\.py$", span)
    ]
    mapped = [span for span in listed if not span.endswith("__init__.py")]
    modules = [name for name in sources() if not name.endswith("__init__.py")]
    assert sorted(mapped) == modules


def test_the_maps_symbols_are_there() -> None:
    """A capitalised name or a function that the map puts into a module is defined there."""
    for rows in tables(section(read("ARCHITECTURE.md"), "The map")):
        for file, said in (row for row in rows if row[0].endswith(".py`")):
            names = {span.partition(".")[0] for span in spans(said)} - {"topicledger", "dags", "accept"}
            assert names <= defined(spans(file)[0]), file


def test_what_architecture_says_of_the_calls_is_so() -> None:
    """Each callable that the table of tasks names exists where it says."""
    for row in table(read("ARCHITECTURE.md"), "One run"):
        for span in spans(row[2]):
            module, _, name = span.rpartition(".")
            if module:
                folder = "src/" if module.startswith("topicledger") else "dags/"
                assert name in defined(f"{folder}{module.replace('.', '/')}.py"), span


def test_the_fields_of_a_pipeline_are_listed() -> None:
    """own-pipeline.md lists every field of Pipeline in order, with its default."""
    rows = table(read("docs/own-pipeline.md"), "Fields of `Pipeline`")
    fields = dataclasses.fields(Pipeline)
    assert first_spans(rows) == [field.name for field in fields]
    for row, field in zip(rows, fields, strict=True):
        default = "" if field.default is dataclasses.MISSING else repr(field.default).replace("'", '"')
        assert "".join(spans(row[1])) == default, field.name


def test_refused_and_masked_keys_are_listed() -> None:
    """SECURITY.md lists exactly the keys that are refused and those that are masked."""
    security = read("SECURITY.md")
    assert first_spans(table(security, "Refused")) == list(REFUSED_KEYS)
    assert set(first_spans(table(security, "Masked"))) == SECRET_KEYS
    assert set(spans(section(security, "Refused"))) >= CALLBACK_KEYS


def test_versions_and_extras_are_those_of_the_package() -> None:
    """The wheel's name has the package's version and extras; CHANGELOG has the version; the licence is Apache 2.0."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    for page in (README, read("docs/get-started.md")):
        wheel = re.search(r"topicledger-(\S+?)-py3-none-any\.whl\[([a-z0-9,]+)\]", page)
        assert wheel is not None
        assert wheel[1] == project["version"]
        assert set(wheel[2].split(",")) <= set(project["optional-dependencies"])
    assert f"## [{project['version']}]" in read("CHANGELOG.md")
    assert project["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in read("LICENSE")


def test_files_and_folders_that_are_named_exist() -> None:
    """A path of this project in a code span exists."""
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for span in spans(document.read_text()):
            if re.fullmatch(r"(dags|src|tests|docs|devstack|requirements)/[\w/.-]*", span):
                assert (ROOT / span).exists(), (document.name, span)
            elif re.fullmatch(r"(topicledger)/[\w/.-]*", span):
                assert (ROOT / "src" / span).exists() or Path(span).suffix in {".html", ".json"}, (document.name, span)
