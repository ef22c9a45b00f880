"""Parses the DAG files as Airflow does, without a network, and prints what it found as JSON.

Runs in a process of its own, started without the interpreter's site folders' own additions: until it says
otherwise, no `topicledger` can be imported. Arguments: the folder of the shipped files, the engine's source, and
a folder to make the other situations in.
"""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, NoReturn


def _no_network(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a connection was opened while a DAG file was parsed")


socket.socket.connect = _no_network  # type: ignore[method-assign]
socket.getaddrinfo = _no_network

# The DAG file's own imports from Airflow: what comes on top of them is ours.
import airflow.providers.common.compat.sdk  # noqa: E402 - after the network is gone
import airflow.providers.standard.operators.bash  # noqa: E402
import airflow.providers.standard.operators.python  # noqa: E402, F401
from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402

CLIENTS = ("confluent_kafka", "pyarrow", "duckdb", "psycopg", "airflow.providers.apache.kafka.hooks")
PLACES = ("", "team_a", "packed.zip")
"""The folder that Airflow looks into, one below it, and a zip in it."""
HEAVY = ("confluent_kafka", "pyarrow", "duckdb", "psycopg", "topicledger.steps")


def main(shipped: Path, engine: Path, scratch: Path) -> dict[str, Any]:
    """Parse in each situation; the engine becomes importable after the first."""
    found: dict[str, Any] = {"without_engine": _import_errors(_folder(scratch / "without_engine", shipped, 2))}
    # Airflow parses each time in a process that hasn't looked before.
    for name in [name for name in sys.modules if name.partition(".")[0] == "topicledger"]:
        del sys.modules[name]
    sys.path.append(str(engine))
    found["blocked"] = _block(CLIENTS)
    found["alone"] = _import_errors(_folder(scratch / "alone", shipped, 1))
    found["shipped"] = _shipped(_folder(scratch / "shipped", shipped, 2))
    del sys.meta_path[0]
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kafka_utils.py").write_text("WHOSE = 'somebody else'\n")
    sys.path.insert(0, str(elsewhere))
    found["installed"] = [_used(scratch / f"installed_{place}", place, shipped) for place in PLACES]
    sys.path.remove(str(engine))
    found["vendored"] = [_used(scratch / f"vendored_{place}", place, shipped, engine) for place in PLACES]
    return found


def _block(packages: tuple[str, ...]) -> list[str]:
    """Make packages as if they weren't installed; return those that can indeed not be imported."""

    class NotInstalled(MetaPathFinder):
        def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
            if name.startswith(packages):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NotInstalled())
    blocked = []
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            blocked.append(package)
    return blocked


def _folder(folder: Path, shipped: Path, files: int) -> Path:
    folder.mkdir()
    for name in ("user_etl_dag.py", "kafka_utils.py")[:files]:
        shutil.copy(shipped / name, folder)
    return folder


def _import_errors(folder: Path) -> str:
    return "\n".join(_parse(folder).import_errors.values())


def _used(bundle: Path, place: str, shipped: Path, engine: Path | None = None) -> dict[str, str]:
    """Put the DAG file into a place, with a Kafka side that says whose it is and a pipeline of one's own; use both."""
    folder, own = bundle / Path(place).stem, f"own_of_{Path(place).stem}"
    folder.mkdir(parents=True, exist_ok=True)
    text = (shipped / "user_etl_dag.py").read_text()
    (folder / "user_etl_dag.py").write_text(text.replace("topicledger.signups:SIGNUPS", f"{own}:OWN"))
    (folder / "kafka_utils.py").write_text(f"WHOSE = {place!r}\n")
    (folder / f"{own}.py").write_text("from topicledger.signups import SIGNUPS as OWN\n")
    if engine:
        shutil.copytree(engine / "topicledger", folder / "topicledger")
    path = folder / "user_etl_dag.py"
    if place.endswith(".zip"):
        path = Path(shutil.make_archive(str(folder), "zip", folder))
        shutil.rmtree(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("topicledger", own)]:
        del sys.modules[name]
    with _on_path():
        bag = BundleDagBag(path, bundle_path=bundle, bundle_name="dags")
        if bag.import_errors:
            return {"import_errors": "\n".join(bag.import_errors.values())}
        (dag,) = bag.dags.values()
        task: Any = dag.task_dict["reconcile_batch"]
        names = sys.modules[task.python_callable.__module__]
        pipeline = names.SIGNUPS.pipeline
        engine_of = sys.modules[type(pipeline).__module__].__file__
        return {"kafka_side": names.kafka_utils().WHOSE, "table": pipeline.table, "engine": engine_of}


def _shipped(folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    bag = _parse(folder)
    took_ms = (time.perf_counter() - began) * 1_000
    (dag,) = bag.dags.values()
    serialised = DagSerialization.to_dict(dag)
    return {
        "import_errors": bag.import_errors,
        "heavy": [name for name in HEAVY if name in sys.modules],
        "took_ms": took_ms,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "dag": json.loads(json.dumps(serialised))["dag"],
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
        "serialised_again": DagSerialization.from_dict(serialised).task_ids == dag.task_ids,
    }


def _task(task: Any) -> dict[str, Any]:
    return {
        "type": type(task).__name__,
        "downstream": sorted(task.downstream_task_ids),
        "retries": task.retries,
        "backs_off": bool(task.retry_exponential_backoff),
        "max_retry_delay_s": task.max_retry_delay.total_seconds(),
        "limit_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "trigger_rule": task.trigger_rule.value,
        "documented": bool(task.doc_md),
    }


def _parse(folder: Path) -> BundleDagBag:
    with _on_path():
        return BundleDagBag(folder / "user_etl_dag.py", bundle_path=folder, bundle_name="dags")


@contextmanager
def _on_path() -> Iterator[None]:
    kept = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = kept


if __name__ == "__main__":
    result = main(*map(Path, sys.argv[1:]))
    print("\n" + json.dumps(result))  # noqa: T201 - the answer
