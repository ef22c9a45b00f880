"""One sequence's ground: a topic, a warehouse, the runs so far; each step is held to what the books expect of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.broker import Broker
from tests.soak.expected import Books, Log, Planned
from tests.soak.killed import killed_at
from tests.support.backups import Backup
from tests.support.looking import has_table, query
from tests.support.records import Record
from tests.support.steps import Case, OneRun
from tests.support.topics import wait_for
from topicledger.errors import IntegrityError

_TRIES = 5


@dataclass
class SoakRun(OneRun):
    """A run, with what it produces, what it was triggered with, and what it has staged."""

    records: list[Record] = field(default_factory=list)
    accept: tuple[str, ...] = ()
    planned: Planned | None = None


@dataclass
class Ground:
    """Where one sequence takes place.

    Args:
        case: The topic, the target and the staging folder.
        broker: The broker; killing it must hurt nobody else.
        folder: A folder for the sequence.
    """

    case: Case
    broker: Broker
    folder: Path

    def __post_init__(self) -> None:
        self.oracle = self.case.oracle()
        self.backup = Backup(self.case.place)
        self.books = Books()
        self.books_then = Books()
        self.backup.take()
        self.runs: list[SoakRun] = []
        self.passed: list[str] = []
        """Crash points at which a process was killed."""
        self._low: dict[int, int] = {}
        self._numbers = 0

    def numbers(self, count: int) -> range:
        """Numbers of sign-ups that nobody has used."""
        self._numbers += count
        return range(self._numbers - count, self._numbers)

    @property
    def used(self) -> int:
        """How many numbers have been used."""
        return self._numbers

    def log(self) -> Log:
        """The topic as it stands."""
        high = self.case.topics.ends(self.case.topic)
        low = {partition: self._low.get(partition, 0) for partition in sorted(high)}
        return Log(self.case.topics.topic_id(self.case.topic), low, high)

    def start(self, records: Sequence[Record], **changes: Any) -> SoakRun:
        """Begin a new run."""
        case = self.case.changed(**changes) if changes else self.case
        run = SoakRun(case, f"manual__{len(self.runs) + 1}", records=list(records))
        self.runs.append(run)
        return run

    # Steps.

    def produce(self, run: SoakRun) -> None:
        """Steps 1 and 2, for a run that produces anything."""
        if run.records:
            run.produce((record.key, record.value) for record in run.records)

    def consume(self, run: SoakRun, perform: Callable[[], object] | None = None) -> bool:
        """Steps 3 to 12; returns False when the run had to be refused, and was."""
        before = self.log()
        expected = self.books.refusal(before, run.receipt, run.accept)
        refused = _refusal(perform or (lambda: run.consume(run.accept)))
        if refused is None:
            assert not expected, f"consuming went through, expected: {expected}"
            self.take_staged(run, before)
            return True
        assert expected, f"consuming failed: {refused}"
        assert expected in refused, f"expected: {expected}\nsaid: {refused}"
        self.require_positions()
        return False

    def take_staged(self, run: SoakRun, before: Log) -> None:
        """Look at what a run has staged, and hold it to what the books expect."""
        partitions = json.loads(run.manifest_path.read_bytes())["partitions"]
        staged = {p["partition"]: (p["start"], p["gap"], p["end"]) for p in partitions}
        run.planned = self.books.planned(before, self.log(), staged, run.case.pipeline.max_records)
        self.require_positions()

    def load(self, run: SoakRun) -> bool:
        """Steps 13 to 19; returns False when the load had to be refused, and was."""
        expected = self.unloadable(run)
        assert run.planned is not None
        refused = _refusal(run.load)
        if refused is None:
            assert not expected, f"loading went through, expected: {expected}"
            self.books.load(run.name, run.planned)
        else:
            assert expected, f"loading failed: {refused}"
            assert re.search(expected, refused), f"expected: {expected}\nsaid: {refused}"
        self.require_positions()
        return refused is None

    def unloadable(self, run: SoakRun) -> str | None:
        """Why a run's load must be refused, or None."""
        assert run.staged is not None
        assert run.planned is not None
        if run.planned.key(run.name) in self.books.batches:
            return None
        if not Path(run.staged.rows_path).exists():
            return "is gone and the ledger doesn't have its plan"
        return self.books.unfit(run.planned)

    def settle(self, run: SoakRun) -> None:
        """Do what a person would: produce again, accept what is lost, clear, until the run's consumer is green."""
        for _ in range(_TRIES):
            if self.consume(run):
                return
            log = self.log()
            if self.books.refusal(log, run.receipt, run.accept) == "Repeat the run from producing on":
                self.produce(run)
            else:
                run.accept = tuple(entry for entry in run.accept if entry.startswith("topic_id:"))
                run.accept += tuple(self.books.needed(log, run.receipt, run.accept))
        raise AssertionError(f"{run.name} doesn't become green")

    def finish(self, run: SoakRun) -> None:
        """Load what is staged, or stage again where that can't be loaded any more; reconcile, clean up, check."""
        while not self.load(run):
            self.settle(run)
        self.close(run)

    def close(self, run: SoakRun) -> None:
        """Reconcile a loaded run, clean up, and let the oracle check."""
        run.reconcile()
        run.clean_up()
        self.check()

    def whole(self, run: SoakRun) -> None:
        """Do all the steps of a run."""
        self.produce(run)
        self.settle(run)
        self.finish(run)

    # Faults.

    def killed(self, run: SoakRun, step: str, point: str) -> None:
        """Do a step in a process that is killed at a point; it goes on as far as the point lets it."""
        before, books = self.log(), self.books.copied()
        if step == "consume":
            assert self.books.refusal(before, run.receipt, run.accept) is None
        left = killed_at(point, self._empty("crash"), run, step, run.records, run.accept)
        if left is None:
            self.passed.append(point)
            self._settled()
        else:
            run.receipt, run.staged, run.row = left
        if step == "consume" and left is not None:
            self.take_staged(run, before)
        elif step == "consume" and len(self._positions()) == len(books.position):
            self.books = books  # killed before its positions were committed
        if step == "load":
            self._load_or_nothing(run, must=left is not None)
        if step != "produce":
            self.require_positions()

    def _load_or_nothing(self, run: SoakRun, *, must: bool) -> None:
        assert run.staged is not None
        assert run.planned is not None
        found = query(self.case.place, f"SELECT plan_id FROM topicledger_batches WHERE run_id = '{run.name}'")
        there = (run.staged.handle.plan_id,) in found
        assert there or not must
        if there:
            self.books.load(run.name, run.planned)

    def cut(self, partition: int, before: int) -> None:
        """Let retention delete the records of a partition before an offset."""
        self.oracle.read()
        self.case.topics.delete_records(self.case.topic, partition, before)
        self._low[partition] = max(before, self._low.get(partition, 0))

    def recreate(self, partitions: int) -> None:
        """Delete the topic and make it anew; the backup is of no use when it doesn't know the old one."""
        self.oracle.read()
        if not self.books_then.knows(self.log()):
            self.back_up()
        self.case.topics.recreate(self.case.topic, partitions)
        self._low.clear()

    def back_up(self) -> None:
        """Take a backup of the warehouse."""
        self.backup.take()
        self.books_then = self.books.copied()

    def restore(self) -> None:
        """Restore the warehouse from the newest backup."""
        self.backup.restore()
        self.books = self.books_then.copied()

    # Checks.

    def require_positions(self) -> None:
        """The ledger's positions are those that the books expect, no more and no fewer."""
        assert self._positions() == {w: (self.books.origin[w], at) for w, at in self.books.position.items()}

    def _positions(self) -> dict[tuple[str, int], tuple[int, int]]:
        if not has_table(self.case.place, "topicledger_positions"):
            return {}
        columns = "topic_id, partition, origin, position"
        found = query(self.case.place, f"SELECT {columns} FROM topicledger_positions")
        return {(topic_id, partition): (origin, position) for topic_id, partition, origin, position in found}

    def check(self) -> None:
        """The oracle's check, as soon as every partition has its place in the books."""
        log = self.log()
        if not self.books.knows(log):
            return
        left = sum(end - self.books.position[log.topic_id, p] for p, end in log.high.items())
        old = [(where, end) for where, end in self.oracle._ends.items() if where[0] != log.topic_id]
        left += sum(end - self.books.position[where] for where, end in old)
        before = sum(1 for c in self.oracle.values if c[2] < self.books.origin[c[:2]])
        self.oracle.require_every_record_once(lost=frozenset(self.books.lost), unread=left, before_origin=before)

    def require_all_read(self) -> None:
        """At the end everything is consumed, and no staged file is left."""
        log = self.log()
        assert log.high == {p: self.books.position[log.topic_id, p] for p in log.high}
        assert self.case.staged_files() == []
        self.check()

    def _settled(self) -> None:
        """Wait until what a killed process had sent has arrived."""
        seen: list[dict[int, int]] = []

        def stands() -> bool | None:
            seen.append(self.case.topics.ends(self.case.topic))
            return True if seen[-2:-1] == seen[-1:] else None

        wait_for("the log to stand still", stands)

    def _empty(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder


def _refusal(step: Callable[[], object]) -> str | None:
    """The sentence with which a step stops for a person, or None when it goes through."""
    try:
        step()
    except IntegrityError as error:
        return str(error)
    return None
