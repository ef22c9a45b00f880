"""Two loaders at once, and a loader that is killed: nothing is doubled, nothing is lost, nothing is half there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier

import pytest

from tests.contract.batches import TOPIC, TOPIC_ID, apply, load, origin
from tests.contract.loader import load_patiently, numbered
from tests.contract.places import Place
from topicledger.errors import RetriableError
from topicledger.model.plan import Position


def loading_process(place: Place, run: str, end: int, crash: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if crash:
        environment["TOPICLEDGER_CRASH_DIR"] = str(crash)
    settings, changes = json.dumps(asdict(place.settings)), json.dumps(dict(place.changes))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.loader", settings, changes, run, "0", str(end)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def offsets(place: Place) -> list[int]:
    found = place.query(f"SELECT _kafka_offset FROM {place.schema}.events ORDER BY 1")
    return [int(row[0]) for row in found]


def test_two_processes_with_the_same_plan(place: Place) -> None:
    """One applies it, the other finds its ledger row."""
    origin(place.ready())
    loaders = [loading_process(place, "run", 200) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in loaders]
    assert sorted(out for out, _ in said) == ["applied", "repeated"], said
    assert offsets(place) == list(range(200))


def test_two_threads_with_the_same_plan(place: Place) -> None:
    """Both have copied before either locks: still one applies, and the other sees what it did."""
    warehouse = place.ready()
    origin(warehouse)
    together = Barrier(2)

    def attempt(_: int) -> bool:
        own = place.warehouse()
        batch = numbered(0, 50, "run")
        batch.target = own.target
        try:
            with own.loading() as transaction:
                together.wait(30)
                loaded = apply(transaction, batch)
                if not loaded.repeated:
                    transaction.commit()
                return loaded.repeated
        except RetriableError:
            return load_patiently(own, batch).repeated

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == [False, True]
    assert offsets(place) == list(range(50))


def test_overlapping_plans_at_once(place: Place) -> None:
    """Each offset is applied by exactly one of them, and both sets of books close."""
    warehouse = place.ready()
    origin(warehouse)
    together = Barrier(2)

    def attempt(end: int) -> int:
        own = place.warehouse()
        together.wait(30)
        return load_patiently(own, numbered(0, end, f"run-{end}")).accounts.loaded

    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(attempt, (40, 60)))
    assert sum(loaded) == 60
    assert offsets(place) == list(range(60))
    (books,) = warehouse.snapshot("", "").partitions
    assert (books.position, books.applied) == (60, 60)


def test_positions_added_by_two_at_once(place: Place) -> None:
    """Two first runs at once leave one row a partition, of whichever came first."""
    warehouse = place.ready()
    together = Barrier(2)

    def attempt(start: int) -> None:
        own = place.warehouse()
        rows = [Position(TOPIC, TOPIC_ID, partition, start, start) for partition in range(20)]
        together.wait(30)
        for _ in range(50):
            try:
                own.add_positions(rows)
            except RetriableError:
                continue
            return

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, (3, 4)))
    rows = warehouse.positions(TOPIC)
    assert [row.partition for row in rows] == list(range(20))
    assert len({row.origin for row in rows}) == 1


@pytest.mark.parametrize("there", [False, True])
def test_a_kill(place: Place, tmp_path: Path, there: bool) -> None:
    """Killed in the transaction nothing is there, killed after COMMIT everything; the retry knows."""
    warehouse = place.ready()
    origin(warehouse)
    armed = tmp_path / "crash"
    armed.mkdir()
    (armed / (place.committed if there else "step-18.inserted")).touch()
    process = loading_process(place, "run", 200, armed)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    assert offsets(place) == (list(range(200)) if there else [])
    assert warehouse.positions(TOPIC)[0].position == (200 if there else 0)
    assert load(warehouse, numbered(0, 200, "run")).repeated is there
    assert offsets(place) == list(range(200))
