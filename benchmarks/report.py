"""Figures as JSON and as a page in Markdown, with the machine, the versions and the commit that they are from."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measured import Figure
from benchmarks.peers import PEERS
from benchmarks.run import PEERS_LOCK, Results
from devstack.jar_lock import KAFKA_VERSION

_PACKAGES = ("confluent-kafka", "msgspec", "pyarrow", "duckdb", "psycopg")
_LOCKED_PACKAGES = ("bytewax", "quixstreams", "dlt", "confluent-kafka", "duckdb")
_NAMES = {
    "kcat": "kcat, draining to nowhere: the client library's limit",
    "bare_consume": "`consume()` in Python, values not looked at",
    "eager_consume": "`consume()` that waits 10 ms for a full queue, not a second",
    "consume for duckdb": "**consume, judge, clean up, stage**, planned from DuckDB",
    "consume for postgres": "the same, planned from PostgreSQL",
    "airflow_operator": "Airflow's ConsumeFromTopicOperator: judged by hand in its callback; told where the end is",
    "connect_json": "Kafka Connect's file sink with JSON: judges only whether it is JSON; its end is watched for",
    "connect_strings": "Kafka Connect's file sink with strings: judges nothing; its end is watched for",
    "bytewax": "Bytewax: judged by hand; finds the end by itself",
    "quixstreams": "Quix Streams: judged by hand; told where the end is",
    "dlt": "dlt into DuckDB: judged by hand; told where the end is; on a tenth of the records",
    "bare load duckdb": "DuckDB alone: anti-join from the CSV",
    "load duckdb": "**load into DuckDB**, dead letters, identities, ledger",
    "bare load postgres": "PostgreSQL alone: COPY, ordered insert ON CONFLICT",
    "load postgres": "**load into PostgreSQL**, dead letters, identities, ledger",
    "bare load folder": "pyarrow alone: zstd Parquet of the CSV, synced",
    "load folder": "**load into a folder**, duplicates within the batch, dead letters, identities, log",
    "bare load s3": "pyarrow and boto3 alone: the same, put into an emulated S3",
    "load s3": "**load into S3, emulated**, duplicates within the batch, dead letters, identities, log",
    "bare_produce": "`produce()` in Python of bytes that lie ready",
    "produce": "**simulate and produce**, headers, every report counted",
}
_WAREHOUSES = {
    "duckdb": "DuckDB",
    "postgres": "PostgreSQL",
    "folder": "files in a folder",
    "s3": "files in an emulated S3",
}
_RATIOS = (
    ("consume for duckdb", "kcat"),
    ("consume for duckdb", "bare_consume"),
    ("consume for duckdb", "eager_consume"),
    ("consume for duckdb", "airflow_operator"),
    ("consume for duckdb", "connect_json"),
    ("load duckdb", "bare load duckdb"),
    ("load postgres", "bare load postgres"),
    ("load folder", "bare load folder"),
    ("load s3", "bare load s3"),
    ("produce", "bare_produce"),
)


def write(results: Results, folder: Path) -> Path:
    """Write `<date>-<commit>.json` and `.md`.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conditions = found_conditions(peers=not PEERS.keys().isdisjoint(results.compared))
    stem = f"{conditions['date']}-{conditions['commit']}"
    fewer = {name: results.records_of(name) for name in results.compared if results.records_of(name) < results.records}
    figures = {name: [dataclasses.asdict(one) for one in many] for name, many in results.compared.items()}
    sizes = {
        str(records): {name: [dataclasses.asdict(one) for one in many] for name, many in by_task.items()}
        for records, by_task in results.sizes.items()
    }
    counts = {"records": results.records, "fewer_records": fewer}
    everything = {"conditions": conditions, **counts, "compared": figures, "sizes": sizes}
    (folder / f"{stem}.json").write_text(json.dumps(everything, indent=1) + "\n")
    page = folder / f"{stem}.md"
    page.write_text(_page(results, conditions))
    return page


def middle(figures: list[Figure]) -> Figure:
    """The medians."""
    return Figure(*(median(values) for values in zip(*map(dataclasses.astuple, figures), strict=True)))


def _page(results: Results, conditions: dict[str, Any]) -> str:
    of = {name: middle(figures) for name, figures in results.compared.items()}
    lines = [
        f"# {results.records:,} records, {conditions['date']}",
        "",
        f"Commit {conditions['commit']}; {conditions['machine']}; Python {conditions['python']}; "
        + _listed(conditions["versions"])
        + (f". The others: {_listed(conditions['peers'])}" if conditions["peers"] else "")
        + ". Broker, warehouse and all processes on this machine; S3 is moto, an emulator in Python. "
        f"Medians of {results.rounds} rounds, everything measured in turn in each.",
        "",
        "| what | s | records/s | largest process MB | all together MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, said in _NAMES.items():
        if name in of:
            lines.append(_row(said, results.records_of(name), of[name]))
    for warehouse, said in _WAREHOUSES.items():
        if f"load {warehouse}" in of:
            seconds = of[f"consume for {warehouse}"].seconds + of[f"load {warehouse}"].seconds
            lines += ["", f"From the topic to committed rows in {said}, the steps' own time: {seconds:.1f} s."]
    if "import_dag" in of:
        lines += ["", f"Importing the DAG file, Airflow's own modules there already: {of['import_dag'].seconds:.3f} s."]
    lines += ["", "| ratio of speeds | |", "|---|---:|"]
    lines += [
        f"| {_NAMES[ours]} / {_NAMES[bare].split(':')[0]} | {of[bare].seconds / of[ours].seconds:.2f} |"
        for ours, bare in _RATIOS
        if ours in of and bare in of
    ]
    lines += ["", *_plot(results, of), ""]
    for records, by_task in results.sizes.items():
        lines += ["", f"## {records:,} records", "", "| what | s | records/s | largest process MB | all together MB |"]
        lines += ["|---|---:|---:|---:|---:|"]
        lines += [_row(_NAMES[name], records, middle(figures)) for name, figures in by_task.items()]
    return "\n".join(lines) + "\n"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _row(said: str, records: int, figure: Figure) -> str:
    speed = records / figure.seconds
    return f"| {said} | {figure.seconds:.2f} | {speed:,.0f} | {figure.largest_mb:.0f} | {figure.together_mb:.0f} |"


def _plot(results: Results, of: dict[str, Figure]) -> list[str]:
    """A bar chart that GitHub draws."""
    names = [name for name in _NAMES if name in of]
    labels = ", ".join(f'"{name}"' for name in names)
    speeds = ", ".join(f"{results.records_of(name) / of[name].seconds / 1_000:.0f}" for name in names)
    return [
        "```mermaid",
        "xychart-beta horizontal",
        '    title "thousand records per second"',
        f"    x-axis [{labels}]",
        f"    bar [{speeds}]",
        "```",
    ]


def found_conditions(*, peers: bool) -> dict[str, Any]:
    """The commit, the machine and the versions that figures are from."""
    git = ["git", "log", "-1", "--format=%h %cs"]
    commit, date = subprocess.run(git, capture_output=True, text=True, check=True).stdout.split()
    return {
        "commit": commit,
        "date": date,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {_processor()}, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "peers": _peers_versions() if peers else {},
    }


def _peers_versions() -> dict[str, str]:
    """The locked ones of the others; what they have of the same packages as the project can be older."""
    provider = "apache-airflow-providers-apache-kafka"
    found = re.findall(r"^([a-z-]+)==(\S+)", PEERS_LOCK.read_text(), re.MULTILINE)
    locked = {name: version for name, version in found if name in _LOCKED_PACKAGES}
    return {provider: importlib.metadata.version(provider), "Kafka Connect": KAFKA_VERSION, **locked}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
