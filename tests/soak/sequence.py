"""One sequence: chosen by its seed alone, done on one broker and one warehouse, checked to its end."""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from devstack.broker import Broker
from devstack.postgres import Postgres
from tests.soak.actions import FAULTS, PLAIN, Action, back_up, restore
from tests.soak.ground import Ground
from tests.support.places import KINDS, duckdb_file, postgres_database
from tests.support.steps import make_case
from tests.support.topics import Topics
from topicledger.connection import Connection

KEYS = ("event_id", None, ("user_id", "event_id"))
"""What the pipeline declares as key: two seeds the first, the next two none, and so on."""


@dataclass(frozen=True)
class Bench:
    """What many sequences share, one after another: a broker that may be killed, a PostgreSQL, a folder."""

    broker: Broker
    postgres: Postgres
    folder: Path


@dataclass
class Outcome:
    """How a sequence went."""

    seed: int
    warehouse: str
    seconds: float = 0.0
    actions: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    failure: str | None = None


def chosen(seed: int) -> list[Action]:
    """The actions of a seed: eight or more, two or more of them faults."""
    rng = Random(seed)
    faults = rng.choices(list(FAULTS), list(FAULTS.values()), k=rng.randint(2, 5))
    plain = rng.choices(list(PLAIN), list(PLAIN.values()), k=rng.randint(6, 9))
    actions = [*faults, *plain]
    rng.shuffle(actions)
    if restore in actions:
        actions.insert(rng.randint(0, actions.index(restore)), back_up)
    return actions


def run_sequence(bench: Bench, seed: int, actions: Sequence[Action] | None = None) -> Outcome:
    """Do the actions of a seed, then consume what is left and compare the whole topic with the warehouse."""
    outcome = Outcome(seed, KINDS[seed % len(KINDS)])
    began = time.monotonic()
    folder = bench.folder / f"seed-{seed}"
    folder.mkdir()
    try:
        with _ground(bench, folder, outcome) as ground:
            _do(ground, seed, chosen(seed) if actions is None else actions, outcome)
    except Exception:  # noqa: BLE001 - whatever it was, it is this sequence's failure
        outcome.failure = traceback.format_exc()
    finally:
        shutil.rmtree(folder)
    outcome.seconds = time.monotonic() - began
    return outcome


def _do(ground: Ground, seed: int, actions: Sequence[Action], outcome: Outcome) -> None:
    for index, action in enumerate(actions):
        outcome.actions.append(action.__name__)
        action(ground, Random(f"{seed}.{index}"))  # of its own, so that a replay draws the same
    for run in ground.runs:
        if run.planned is not None and run.row is None:
            ground.finish(run)
    ground.whole(ground.start([]))
    ground.require_all_read()


@contextlib.contextmanager
def _ground(bench: Bench, folder: Path, outcome: Outcome) -> Iterator[Ground]:
    topics = Topics(bench.broker.bootstrap)
    with _warehouse(bench, folder, outcome.warehouse) as place:
        case = make_case(topics, place, folder, partitions=Random(outcome.seed).randint(1, 3))
        case = case.changed(key=KEYS[outcome.seed // len(KINDS) % len(KEYS)])
        ground = Ground(case, bench.broker, folder)
        try:
            yield ground
        finally:
            outcome.points = ground.passed
            ground.backup.discard()
            topics.delete(case.topic)


@contextlib.contextmanager
def _warehouse(bench: Bench, folder: Path, kind: str) -> Iterator[Connection]:
    if kind == "duckdb":
        yield duckdb_file(folder)
        return
    with postgres_database(bench.postgres) as place:
        yield place
