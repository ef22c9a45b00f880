"""What the command looks at: the pipelines that DAG files declare, found by running those files, or one by its name.

A file is run without making DAGs of `ledger_dag`, so nothing waits for Airflow's import unless the file has one itself,
or goes on with the DAG: then it is run once more, with a real one.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from topicledger.airflow.ledger import Ledger, noted_ledgers
from topicledger.cli.airflow_settings import dags_folder
from topicledger.cli.schedules import longest_pause
from topicledger.errors import SettingsError
from topicledger.pipeline import Pipeline
from topicledger.pipeline_import import failed, import_named

_Ran = TypeVar("_Ran")


@dataclass(frozen=True, slots=True)
class Declared:
    """One pipeline, where it is declared, and its DAG's side of it.

    Args:
        where: The file, or `module:NAME`.
        ledger: The pipeline with the ids of its connections.
        schedule: Its DAG's schedule; None where no DAG is known, or it has none.
    """

    where: str
    ledger: Ledger
    schedule: Any

    @property
    def pipeline(self) -> Pipeline:
        """The declaration.

        Raises:
            SettingsError: It can't be imported, or declares what can't work.
        """
        return self.ledger.pipeline

    @property
    def pause(self) -> dt.timedelta | None:
        """The longest time between two runs, where the schedule says it."""
        return longest_pause(self.schedule)


def find_declared(what: str | None) -> list[Declared]:
    """Find what the command is to look at.

    Args:
        what: `module:NAME` of a pipeline, a DAG file's path, a DAG's id, or None for all that the dags folder declares.

    Raises:
        SettingsError: There is nothing of that name, or what is there can't be run.
    """
    # Beside its DAG file a module is found as in Airflow; the folder at hand is the command's own.
    for folder in (str(Path.cwd()), str(dags_folder())):
        if folder not in sys.path:
            sys.path.append(folder)
    if what is not None and ":" in what:
        return [_named(what)]
    if what is not None and what.endswith(".py"):
        return _in_file(Path(what).absolute(), required=True)
    looked_in, found = dags_folder(), []
    for path in _dag_files(looked_in):
        found += _in_file(path, required=False)
        matching = [one for one in found if one.pipeline.name == what]
        if matching:
            return matching
    if what is not None or not found:
        there = ", ".join(sorted(one.pipeline.name for one in found)) or "no DAG of a pipeline"
        raise SettingsError(
            f"{looked_in} declares {there}{f', not {what}' if what else ''}: name a DAG's id, a DAG file's path, or "
            "module:NAME of a pipeline, such as topicledger.signups:SIGNUPS",
            code="pipeline-not-found",
        )
    return found


def only_one(what: str | None) -> Declared:
    """Find the one pipeline that the command is to look at.

    Raises:
        SettingsError: As `find_declared`; or there are several.
    """
    found = find_declared(what)
    if len(found) > 1:
        names = ", ".join(sorted(one.pipeline.name for one in found))
        raise SettingsError(f"there are several pipelines: name one of {names}", code="pipeline-ambiguous")
    return found[0]


def _named(what: str) -> Declared:
    found, noted = _noting(lambda: import_named(what, (Pipeline, Ledger)))
    if isinstance(found, Ledger):
        return Declared(what, found, found.schedule)
    ledger = next((one for one in noted if one.declares(found)), None) or Ledger(found)
    return Declared(what, ledger, ledger.schedule)


def _dag_files(folder: Path) -> list[Path]:
    """The files that declare pipelines, those last that import Airflow themselves, which takes seconds."""
    slow: dict[Path, bool] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "topicledger.airflow" in text and "topicledger" not in path.relative_to(folder).parts:
            slow[path] = "\nfrom airflow" in text or "\nimport airflow" in text
    return sorted(slow, key=lambda path: slow[path])


def _in_file(path: Path, *, required: bool) -> list[Declared]:
    module, noted = _noting(lambda: _run(path))
    if required and not noted:
        raise SettingsError(
            f"the DAG file {path} declares no pipeline: it calls neither ledger_dag nor Ledger",
            code="dag-file-without-pipeline",
        )
    return [Declared(str(path), ledger, ledger.schedule or _schedule_of(module, ledger)) for ledger in noted]


def _noting(run: Callable[[], _Ran]) -> tuple[_Ran, list[Ledger]]:
    """Run somebody's file, and note what it declares."""
    with noted_ledgers() as noted:
        try:
            return run(), noted
        except SettingsError as error:
            # What `ledger_dag` gives without making a DAG is None, which nothing can be done with.
            if not noted or not isinstance(error.__cause__, AttributeError | TypeError):
                raise
    with noted_ledgers(making_dags=True) as noted:
        return run(), noted


def _run(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = f"topicledger_looks_at_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"the DAG file {path} is no Python file: name another one", code="dag-file-not-python")
    module = module_from_spec(spec)
    sys.modules[name] = module
    with failed(f"the DAG file {path}"):
        spec.loader.exec_module(module)
    return module


def _schedule_of(module: ModuleType, ledger: Ledger) -> Any:
    """That of the DAG that a file makes itself, where it made one."""
    for value in vars(module).values():
        if type(value).__name__ == "DAG" and getattr(value, "dag_id", None) == ledger.pipeline.name:
            return getattr(value, "schedule", None) or getattr(value, "schedule_interval", None)
    return None
