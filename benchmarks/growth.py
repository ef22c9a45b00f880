"""How the time of a record grows: with the batch, its dead letters, the topic's partitions, the warehouse's age.

`make bench-growth` runs it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import MALFORMED
from benchmarks.age import BATCHES, ROWS_A_BATCH, age
from benchmarks.ground import PARTITIONS, Ground, running_ground
from benchmarks.measured import Figure, measured
from benchmarks.report import found_conditions, middle

_HERE = Path(__file__).resolve().parent
_WAREHOUSES = ("duckdb", "postgres")

NEW_RECORDS = 1_000
"""The batch that is loaded into a warehouse with a past."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing that grows, and what it was measured at.

    Args:
        records: Of the batch.
        malformed: Share of them that becomes dead letters.
        partitions: Of the topic.
        batches: Of another topic, in the warehouse before.
        rows: Of theirs.
    """

    records: int
    malformed: float = MALFORMED
    partitions: int = PARTITIONS
    batches: int = 0
    rows: int = 0


def cases(sizes: Sequence[int], batches: int, rows_a_batch: int) -> list[Case]:
    """Each thing grows by itself, at the smallest of the sizes."""
    least = min(sizes)
    grown = [Case(records) for records in sizes]
    grown += [Case(least, malformed=share) for share in (0.0, 0.5)]
    grown += [Case(least, partitions=partitions) for partitions in (1, 200)]
    grown.append(Case(NEW_RECORDS))
    if batches:
        grown.append(Case(NEW_RECORDS, batches=batches, rows=batches * rows_a_batch))
    return grown


def measure(ground: Ground, case: Case, rounds: int) -> dict[str, list[Figure]]:
    """Consume and load, so many times for each warehouse; one with a past is made once, and gets a batch a round."""
    figures: dict[str, list[Figure]] = {f"{task} {name}": [] for name in _WAREHOUSES for task in ("consume", "load")}
    for warehouse in _WAREHOUSES:
        for _ in range(1 if case.batches else rounds):
            topic = ground.topic(case.records, partitions=case.partitions, malformed=case.malformed)
            with ground.setting(topic, case.records, warehouse) as setting:
                if case.batches:
                    age(setting, case.batches, case.rows // case.batches)
                for task in ("consume", "load"):
                    figures[f"{task} {warehouse}"].append(measured(task, setting))
    return figures


def write(found: dict[Case, dict[str, list[Figure]]], folder: Path) -> Path:
    """Write `<date>-<commit>.json` and `.md`.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = found_conditions(peers=False)
    stem = folder / f"{where['date']}-{where['commit']}"
    kept = []
    for case, by_task in found.items():
        figures = {task: [dataclasses.asdict(figure) for figure in many] for task, many in by_task.items()}
        kept.append({**dataclasses.asdict(case), "figures": figures})
    stem.with_suffix(".json").write_text(json.dumps({"conditions": where, "cases": kept}, indent=1) + "\n")
    page = stem.with_suffix(".md")
    page.write_text(_page(found, f"Commit {where['commit']}; {where['machine']}; Python {where['python']}."))
    return page


def _page(found: dict[Case, dict[str, list[Figure]]], where: str) -> str:
    tasks = [f"{task} {warehouse}" for warehouse in _WAREHOUSES for task in ("consume", "load")]
    lines = ["# What grows", "", where, "", "Microseconds for a record, and the largest process in MB.", ""]
    lines.append(f"| records | dead letters | partitions | rows before | {' | '.join(tasks)} |")
    lines.append("|---:" * (4 + len(tasks)) + "|")
    for case, figures in found.items():
        medians = [middle(figures[task]) for task in tasks]
        said = [f"{f.seconds / case.records * 1e6:,.2f} ({f.largest_mb:.0f})" for f in medians]
        numbers = [f"{case.records:,}", f"{case.malformed:.0%}", str(case.partitions), f"{case.rows:,}"]
        lines.append(f"| {' | '.join(numbers + said)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure all cases, one after another."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000], help="batches")
    parser.add_argument("--batches", type=int, default=BATCHES, help="in the warehouse with a past; 0: leave it out")
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "growth", help="where the results go")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="topicledger-bench-"))
    found: dict[Case, dict[str, list[Figure]]] = {}
    try:
        with running_ground(folder) as ground:
            for case in cases(chosen.sizes, chosen.batches, ROWS_A_BATCH):
                print(case, flush=True)
                found[case] = measure(ground, case, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    page = write(found, chosen.results)
    print(page.read_text())
    print(f"written to {page} and the JSON file beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
