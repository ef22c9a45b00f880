"""Figures as JSON and as a page in Markdown, with the machine, the versions and the commit that they are from."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measured import Figure
from benchmarks.run import Results

_PACKAGES = ("confluent-kafka", "msgspec", "pyarrow", "duckdb", "psycopg")
_NAMES = {
    "kcat": "kcat, draining to nowhere: the client library's limit",
    "bare_consume": "`consume()` in Python, values not looked at",
    "eager_consume": "`consume()` that waits 10 ms for a full queue, not a second",
    "consume for duckdb": "**consume, judge, clean up, stage**, planned from DuckDB",
    "consume for postgres": "the same, planned from PostgreSQL",
    "airflow_operator": "Airflow's ConsumeFromTopicOperator, `json` and `csv` in its callback, told where the end is",
    "bare load duckdb": "DuckDB alone: anti-join from the CSV",
    "load duckdb": "**load into DuckDB**, dead letters, identities, ledger",
    "bare load postgres": "PostgreSQL alone: COPY, ordered insert ON CONFLICT",
    "load postgres": "**load into PostgreSQL**, dead letters, identities, ledger",
    "bare_produce": "`produce()` in Python of bytes that lie ready",
    "produce": "**simulate and produce**, headers, every report counted",
}
_WAREHOUSES = {"duckdb": "DuckDB", "postgres": "PostgreSQL"}
_RATIOS = (
    ("consume for duckdb", "kcat"),
    ("consume for duckdb", "bare_consume"),
    ("consume for duckdb", "eager_consume"),
    ("consume for duckdb", "airflow_operator"),
    ("load duckdb", "bare load duckdb"),
    ("load postgres", "bare load postgres"),
    ("produce", "bare_produce"),
)


def write(results: Results, folder: Path) -> Path:
    """Write `<date>-<commit>.json` and `.md`.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conditions = _conditions()
    stem = f"{conditions['date']}-{conditions['commit']}"
    figures = {name: [dataclasses.asdict(one) for one in many] for name, many in results.compared.items()}
    sizes = {
        str(records): {name: [dataclasses.asdict(one) for one in many] for name, many in by_task.items()}
        for records, by_task in results.sizes.items()
    }
    everything = {"conditions": conditions, "records": results.records, "compared": figures, "sizes": sizes}
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
        + ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
        + f". Broker, warehouse and all processes on this machine. Medians of {results.rounds} rounds, everything "
        "measured in turn in each.",
        "",
        "| what | s | records/s | largest process MB | all together MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, said in _NAMES.items():
        if name in of:
            lines.append(_row(said, results.records, of[name]))
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


def _row(said: str, records: int, figure: Figure) -> str:
    speed = records / figure.seconds
    return f"| {said} | {figure.seconds:.2f} | {speed:,.0f} | {figure.largest_mb:.0f} | {figure.together_mb:.0f} |"


def _plot(results: Results, of: dict[str, Figure]) -> list[str]:
    """A bar chart that GitHub draws."""
    names = [name for name in _NAMES if name in of]
    labels = ", ".join(f'"{name}"' for name in names)
    speeds = ", ".join(f"{results.records / of[name].seconds / 1_000:.0f}" for name in names)
    return [
        "```mermaid",
        "xychart-beta horizontal",
        '    title "thousand records per second"',
        f"    x-axis [{labels}]",
        f"    bar [{speeds}]",
        "```",
    ]


def _conditions() -> dict[str, Any]:
    git = ["git", "log", "-1", "--format=%h %cs"]
    commit, date = subprocess.run(git, capture_output=True, text=True, check=True).stdout.split()
    return {
        "commit": commit,
        "date": date,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {_processor()}, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
