"""The whole run: everything once a round, one after the other, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.measured import Figure, measured
from benchmarks.peers import PEERS
from devstack.jars import cache_folder
from devstack.locked_environment import locked_environment

WAREHOUSES = ("duckdb", "postgres", "folder", "s3")
GROWN = ("duckdb", "postgres")
"""The warehouses that are measured at further sizes."""
PEERS_LOCK = Path(__file__).resolve().parents[1] / "requirements" / "peers.txt"


@dataclass
class Results:
    """All figures of one run.

    Args:
        records: How many records the comparison has.
        rounds: How often each was measured.
        compared: Figures by task, `load` by warehouse, at `records`.
        sizes: Figures by number of records and task.
    """

    records: int
    rounds: int
    compared: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[int, dict[str, list[Figure]]] = field(default_factory=dict)

    def records_of(self, name: str) -> int:
        """How many records of the comparison a task gets."""
        return self.records // PEERS[name].share if name in PEERS else self.records


def compare(ground: Ground, results: Results) -> None:
    """One round of everything, at the run's number of records."""
    records, figures = results.records, results.compared
    topic = ground.topic(records)
    with ground.setting(topic, records) as setting:
        figures["kcat"].append(measured("kcat", setting))
        figures["bare_consume"].append(measured("bare_consume", setting))
        figures["eager_consume"].append(measured("eager_consume", setting))
    for warehouse in WAREHOUSES:
        with ground.setting(topic, records, warehouse) as setting:
            figures[f"consume for {warehouse}"].append(measured("consume", setting))
            figures[f"bare load {warehouse}"].append(measured(f"bare_load_{warehouse}", setting))
            figures[f"load {warehouse}"].append(measured("load", setting))
    with ground.setting(topic, records) as setting:
        figures["import_dag"].append(measured("import_dag", setting))
    for task in ("produce", "bare_produce"):
        with ground.setting(ground.empty_topic(), records) as setting:
            figures[task].append(measured(task, setting))


def compare_peers(ground: Ground, results: Results) -> None:
    """One round of the others, each at its share of the run's number of records."""
    locked = locked_environment(PEERS_LOCK, cache_folder() / "peers")
    for name, peer in ((name, peer) for name, peer in PEERS.items() if peer.runs_here):
        records = results.records_of(name)
        with ground.setting(ground.topic(records), records) as setting:
            python = locked if peer.locked else sys.executable
            results.compared[name].append(measured(name, setting, "benchmarks.peers", python))


def grow(ground: Ground, results: Results, sizes: Sequence[int], rounds: int) -> None:
    """Consume and load at each size; the largest only once."""
    for records in sizes:
        figures: dict[str, list[Figure]] = defaultdict(list)
        for _ in range(rounds if records <= results.records else 1):
            for warehouse in GROWN:
                with ground.setting(ground.topic(records), records, warehouse) as setting:
                    figures[f"consume for {warehouse}"].append(measured("consume", setting))
                    figures[f"load {warehouse}"].append(measured("load", setting))
        results.sizes[records] = figures
