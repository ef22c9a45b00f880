"""The wheel's extras, each in an environment of its own, from the package registry: the core stays lean."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.docs.pages import ROOT, read
from tests.end_to_end.users_airflow import build_wheel, run, run_uv
from topicledger.cli.scaffold import DAG_FILES

pytestmark = pytest.mark.slow

PROTOBUF = ("topicledger.protobuf_schema", "topicledger.events.protobuf_")

EXTRAS: dict[str, list[str]] = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]

# Runs in the environment: which modules import, and which not for want of what; and by which names what is imported.
LOOK = """
import importlib, importlib.metadata, json, pathlib, sys, topicledger
root = pathlib.Path(topicledger.__file__).parent
missing = {}
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    if parts[0] == "dags":
        continue
    name = ".".join(("topicledger", *(part for part in parts if part != "__init__")))
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        if lacking != "airflow":  # topicledger is installed where that is, and never brings it
            missing[name] = lacking
    except SystemExit as error:  # the command's own words, when its extra is missing
        missing[name] = (error.__context__.name or "").partition(".")[0]
owners = importlib.metadata.packages_distributions()
by_name = {}
for package, names in owners.items():
    for owner in names:
        by_name.setdefault(owner.lower().replace("_", "-"), []).append(package)
print(json.dumps({"root": str(root), "missing": missing, "packages": by_name}))
"""


@dataclass(frozen=True)
class Looked:
    """What an environment can import.

    Args:
        root: Where topicledger is installed.
        missing: Modules of topicledger that can't be imported, each with the package that it lacks.
        packages: The import names of each installed distribution.
    """

    root: str
    missing: dict[str, str]
    packages: dict[str, list[str]]


def looked(folder: Path, wanted: str) -> Looked:
    """Make an environment with this alone, and look into it."""
    venv = folder / "venv"
    run_uv(folder, "venv", "--python", sys.executable, str(venv))
    run_uv(folder, "pip", "install", "--python", str(venv / "bin" / "python"), wanted)
    return Looked(**json.loads(run([str(venv / "bin" / "python"), "-I", "-c", LOOK], {}, cwd=folder)))


def drivers(extra: str) -> list[str]:
    """The distributions that an extra asks for, beside the core's own."""
    named = [re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-") for requirement in EXTRAS[extra]]
    return [name for name in named if name != "confluent-kafka"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return looked(tmp_path_factory.mktemp("core"), str(wheel))


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Also what isn't Python, as the report's template, and the two DAG files."""
    package = ROOT / "src" / "topicledger"
    files = {path.relative_to(package.parent) for path in package.rglob("*") if path.is_file()}
    wanted = {str(path) for path in files if "__pycache__" not in path.parts}
    assert "topicledger/report/report.html.j2" in wanted
    dag_files = {f"topicledger/dags/{name}" for name in DAG_FILES}
    assert {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name} == wanted | dag_files


def test_the_core_has_no_driver(core: Looked) -> None:
    """Without extras none of their distributions is installed; but the command, warehouses and Protobuf all imports."""
    assert "/venv/" in core.root
    wanted = {driver for extra in EXTRAS for driver in drivers(extra)}
    assert wanted & set(core.packages) == set()
    command = ("topicledger.__main__", "topicledger.cli.")
    places = ("topicledger.warehouse.", "topicledger.s3.", "topicledger.staged_files.s3", *PROTOBUF)
    assert [module for module in core.missing if not module.startswith((*command, *places))] == []
    assert {"connect", "contract", "sql_warehouse"} & {module.rpartition(".")[2] for module in core.missing} == set()


def test_the_registrys_client_comes_with_its_extra(wheel: Path, tmp_path: Path) -> None:
    """Confluent's client of a schema registry imports where the extra is installed."""
    looked(tmp_path, f"{wheel}[registry]")
    python = str(tmp_path / "venv" / "bin" / "python")
    run([python, "-I", "-c", "from confluent_kafka.schema_registry import SchemaRegistryClient"], {}, cwd=tmp_path)


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if drivers(extra)])
def test_an_extra_alone(core: Looked, wheel: Path, extra: str, tmp_path: Path) -> None:
    """Installed alone it brings what it names, and every module then imports that lacked nothing else."""
    with_extra = looked(tmp_path, f"{wheel}[{extra}]")
    brought = {name for driver in drivers(extra) for name in with_extra.packages[driver]}
    lacked = {module for module, name in core.missing.items() if name in brought}
    assert lacked, f"no module needs the extra {extra}"
    still = {module: name for module, name in with_extra.missing.items() if name in brought}
    assert still == {}
    assert set(with_extra.missing) < set(core.missing)


def test_the_wheel_says_what_airflow_takes(wheel: Path) -> None:
    """The wheel has the entry points by which Airflow finds the provider and the plugin; both can be imported."""
    (found,) = Distribution.discover(path=[str(wheel)], name="topicledger")
    groups = {point.group: point for point in found.entry_points}
    assert groups["apache_airflow_provider"].load()()["package-name"] == found.metadata["Name"]
    assert groups["airflow.plugins"].load().name == "topicledger"


def test_every_module_is_some_extras(core: Looked, wheel: Path, tmp_path: Path) -> None:
    """With all extras every module imports."""
    assert looked(tmp_path, f"{wheel}[{','.join(EXTRAS)}]").missing == {}
    assert core.missing
