"""`topicledger init`: what it writes, what it refuses to touch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from topicledger.cli import scaffold
from topicledger.cli.scaffold import DAG_FILES, IGNORE_ENTRY, install_line, write_dag_files
from topicledger.errors import SettingsError


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty dags folder, and an installed package of a few files to write from."""
    package = tmp_path / "site" / "topicledger"
    for name, text in {
        "__init__.py": "engine",
        "py.typed": "",
        "kafka/reader.py": "reader",
        "__pycache__/x.pyc": "no",
        "dags/user_etl_dag.py": "the DAG",
        "dags/kafka_utils.py": "the Kafka side",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(scaffold, "_PACKAGE", package)
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_two_files_are_written_and_a_repeat_writes_nothing(dags: Path) -> None:
    """The two files as the wheel carries them, and nothing else."""
    assert [path.name for path in write_dag_files(dags).written] == list(DAG_FILES)
    assert files(dags) == set(DAG_FILES)
    assert (dags / "user_etl_dag.py").read_text() == "the DAG"
    again = write_dag_files(dags)
    assert (again.written, len(again.unchanged)) == ((), 2)


def test_a_changed_file_is_kept_unless_forced(dags: Path) -> None:
    """Nothing is written when one file differs; --force replaces it."""
    (dags / "kafka_utils.py").write_text("mine")
    with pytest.raises(SettingsError, match=r"kafka_utils\.py.*Nothing was written.*--force"):
        write_dag_files(dags)
    assert files(dags) == {"kafka_utils.py"}
    write_dag_files(dags, force=True)
    assert (dags / "kafka_utils.py").read_text() == "the Kafka side"


def test_vendoring_puts_the_engine_beside_them(dags: Path) -> None:
    """The package without its caches and its own copy of the DAG files, and an entry in .airflowignore."""
    write_dag_files(dags, vendor=True)
    engine = {"topicledger/__init__.py", "topicledger/py.typed", "topicledger/kafka/reader.py"}
    assert files(dags) == {*DAG_FILES, *engine, ".airflowignore"}
    assert write_dag_files(dags, vendor=True).written == ()


def test_vendoring_takes_what_isnt_python(tmp_path: Path) -> None:
    """The engine of this very version goes there whole, with the report's template."""
    write_dag_files(tmp_path, vendor=True)
    assert (tmp_path / "topicledger" / "report" / "report.html.j2").is_file()
    vendored = {name.removeprefix("topicledger/") for name in files(tmp_path) if name.startswith("topicledger/")}
    assert {name for name in files(scaffold._PACKAGE) if "__pycache__" not in name} == vendored


def test_upgrading_the_vendored_engine_needs_force_and_removes_old_modules(dags: Path) -> None:
    """A module that only another version has would shadow or mix: it goes, but never without a word."""
    write_dag_files(dags, vendor=True)
    (dags / "topicledger" / "kafka.py").write_text("old")
    with pytest.raises(SettingsError, match=r"topicledger/kafka\.py"):
        write_dag_files(dags, vendor=True)
    done = write_dag_files(dags, vendor=True, force=True)
    assert [path.name for path in done.removed] == ["kafka.py"]
    assert not (dags / "topicledger" / "kafka.py").exists()


@pytest.mark.parametrize("before", ["drafts", "drafts\n", "drafts\ntopicledger/\n"])
def test_the_ignore_file_keeps_what_it_had(dags: Path, before: str) -> None:
    """The entry is added once, on a line of its own."""
    (dags / ".airflowignore").write_text(before)
    write_dag_files(dags, vendor=True)
    assert (dags / ".airflowignore").read_text() == "drafts\ntopicledger/\n"


def test_the_ignore_entry_spares_the_dag_files() -> None:
    """As a regular expression it matches the engine's files and none of the two."""
    assert re.search(IGNORE_ENTRY, "topicledger/kafka/reader.py")
    assert not any(re.search(IGNORE_ENTRY, name) for name in DAG_FILES)


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    """A mistyped path must not become a dags folder that Airflow never reads."""
    with pytest.raises(SettingsError, match="not a folder"):
        write_dag_files(tmp_path / "dagz")
    assert not (tmp_path / "dagz").exists()


def test_an_unwritable_folder_is_a_sentence(dags: Path) -> None:
    """A path that can't be written is named, with what to do."""
    (dags / "topicledger").write_text("a file where the folder should be")
    with pytest.raises(SettingsError, match=r"can't be written.*Run this as"):
        write_dag_files(dags, vendor=True)


def test_an_installation_without_the_files_says_so(dags: Path) -> None:
    """A broken installation is named as such."""
    (scaffold._PACKAGE / "dags" / "kafka_utils.py").unlink()
    with pytest.raises(SettingsError, match=r"lacks kafka_utils\.py"):
        write_dag_files(dags)


def test_the_install_line_names_every_dependency() -> None:
    """Vendored, the engine's own dependencies have to be installed by name."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for dependency in project["dependencies"]:
        assert re.split(r"[<>=\[]", dependency)[0] in install_line(vendor=True)
    assert f"topicledger[duckdb]=={project['version']}" in install_line(vendor=False)
