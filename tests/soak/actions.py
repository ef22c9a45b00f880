"""What may happen in a sequence: others produce, runs run, people clear, and things break."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from tests.soak.ground import Ground, SoakRun
from tests.support.bad_records import BAD
from tests.support.records import Record, Transaction, good
from tests.support.topics import wait_for
from topicledger.crash_points import POINTS
from topicledger.errors import RetriableError

Action = Callable[[Ground, Random], None]

_SMALL_BAD = [bad.value for bad in BAD if len(bad.value) < 2_000]
_MIDDLE = "step-01.middle"
_UNREACHED = "step-05.set_back"  # no log is truncated here
_STEPS = {"produce": range(1, 3), "consume": range(3, 13), "load": range(13, 20), "reconcile": range(20, 21)}


# Without a fault.


def others_produce(ground: Ground, rng: Random) -> None:
    """Somebody else produces records of every kind."""
    ground.case.send(_records(ground, rng, rng.randint(1, 60)))


def others_commit(ground: Ground, rng: Random) -> None:
    """Somebody else produces in a transaction and commits it."""
    _transaction(ground, rng, Transaction.commit)


def others_abort(ground: Ground, rng: Random) -> None:
    """Somebody else produces in a transaction and aborts it."""
    _transaction(ground, rng, Transaction.abort)


def run(ground: Ground, rng: Random) -> None:
    """A run, from beginning to end."""
    begun = _start(ground, rng)
    ground.settle(begun)
    ground.finish(begun)


def run_without_a_batch(ground: Ground, _: Random) -> None:
    """A run that produces nothing."""
    ground.whole(ground.start([]))


def capped_run(ground: Ground, rng: Random) -> None:
    """A run that may read only so many records."""
    begun = _start(ground, rng, max_records=rng.randint(1, 40))
    ground.settle(begun)
    ground.finish(begun)


def run_while_others_produce(ground: Ground, rng: Random) -> None:
    """A run during which somebody else goes on producing."""
    begun = _start(ground, rng)
    theirs = _records(ground, rng, 60)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(_one_by_one, ground, theirs)
        ground.settle(begun)
        sent.result()
    ground.finish(begun)


def stage_a_run(ground: Ground, rng: Random) -> None:
    """A run that comes as far as its staged files, and is loaded later."""
    ground.settle(_start(ground, rng))


def clear_load(ground: Ground, rng: Random) -> None:
    """Somebody clears the load of some run."""
    ground.finish(_some_run(ground, rng))


def clear_consume(ground: Ground, rng: Random) -> None:
    """Somebody clears the consumer of some run, with downstream."""
    cleared = _some_run(ground, rng)
    ground.settle(cleared)
    ground.finish(cleared)


def clear_run(ground: Ground, rng: Random) -> None:
    """Somebody clears a whole run."""
    ground.whole(_some_run(ground, rng))


def add_partitions(ground: Ground, _: Random) -> None:
    """The topic gets one partition more."""
    ground.case.topics.add_partitions(ground.case.topic, len(ground.log().high) + 1)


def back_up(ground: Ground, _: Random) -> None:
    """A backup of the warehouse is taken."""
    ground.back_up()


# Faults.


def kill(ground: Ground, rng: Random) -> None:
    """A step is killed at one of its crash points, and tried again."""
    point = rng.choice([name for name in POINTS if name != _UNREACHED])
    number = int(point.removeprefix("step-").partition(".")[0])
    [step] = [name for name, numbers in _STEPS.items() if number in numbers]
    if step == "produce":
        killed = ground.start(_records(ground, rng, 1_100 if point == _MIDDLE else rng.randint(5, 40)))
        ground.killed(killed, step, point)
        ground.produce(killed)
    else:
        killed = _start(ground, rng)
    if step == "consume":
        if ground.books.copied().refusal(ground.log(), killed.receipt, ()) is not None:
            ground.settle(killed)
        ground.killed(killed, step, point)
    ground.settle(killed)
    if step == "load":
        ground.killed(killed, step, point)
    assert ground.load(killed)
    if step == "reconcile":
        ground.killed(killed, step, point)
    ground.close(killed)


def load_late(ground: Ground, rng: Random) -> None:
    """A run loads what it staged before others loaded: a zombie, or just a slow one."""
    waiting = [known for known in ground.runs if known.planned is not None and known.row is None]
    if not waiting:
        stage_a_run(ground, rng)
        waiting = ground.runs[-1:]
    run(ground, rng)
    ground.finish(rng.choice(waiting))


def zombie_attempt(ground: Ground, rng: Random) -> None:
    """An attempt that was given up loads what it staged after the next attempt has loaded and cleaned up, or before."""
    retry = _start(ground, rng)
    ground.settle(retry)
    zombie = SoakRun(**vars(retry))
    ground.case.send(_records(ground, rng, 20))
    ground.settle(retry)
    order = rng.sample([retry, zombie], 2)
    for attempt in order:
        ground.load(attempt)
    ground.finish(retry)


def two_runs_at_once(ground: Ground, rng: Random) -> None:
    """Two runs plan, read and load at the same time."""
    both = [_start(ground, rng, 30) for _ in range(2)]
    for begun in both:
        ground.settle(begun)
    before = ground.log()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda begun: begun.consume(begun.accept), both))
        for begun in both:
            ground.take_staged(begun, before)
        list(pool.map(lambda begun: begun.load(), both))
    for begun in both:
        assert begun.planned is not None
        ground.books.load(begun.name, begun.planned)
    ground.require_positions()
    for begun in both:
        ground.close(begun)


def restart_broker(ground: Ground, _: Random) -> None:
    """The broker is killed and comes back between two steps."""
    ground.broker.kill()
    ground.broker.start()
    ground.log()


def kill_broker_under_a_run(ground: Ground, rng: Random) -> None:
    """The broker is killed while a run reads, and comes back; the step goes on, or its retry does."""
    begun = _start(ground, rng)
    ground.settle(begun)
    with ThreadPoolExecutor(1) as pool:

        def tried() -> None:
            running = pool.submit(begun.consume, begun.accept)
            time.sleep(rng.random() * 0.5)
            restart_broker(ground, rng)
            try:
                running.result()
            except RetriableError:
                begun.consume(begun.accept)

        assert ground.consume(begun, tried)
    ground.finish(begun)


def cut(ground: Ground, rng: Random) -> None:
    """Retention deletes the head of a partition, loaded or not."""
    ground.case.send(_records(ground, rng, rng.randint(1, 30)))
    log = ground.log()
    partition = rng.choice(sorted(log.high))
    head = log.low[partition]
    if rng.random() < 0.7:  # behind what is loaded, where it is a loss
        head = max(head, ground.books.position.get((log.topic_id, partition), head))
    ground.cut(partition, log.high[partition] - int((log.high[partition] - head) * rng.random()))


def restore(ground: Ground, _: Random) -> None:
    """The warehouse is restored from its newest backup."""
    ground.restore()


def recreate(ground: Ground, rng: Random) -> None:
    """The topic is deleted and made anew."""
    if not ground.books.knows(ground.log()):
        run(ground, rng)
    ground.recreate(rng.randint(1, 3))


PLAIN: dict[Action, int] = {
    others_produce: 6,
    others_commit: 2,
    others_abort: 3,
    run: 4,
    run_without_a_batch: 3,
    capped_run: 4,
    run_while_others_produce: 2,
    stage_a_run: 5,
    clear_load: 4,
    clear_consume: 4,
    clear_run: 3,
    add_partitions: 2,
    back_up: 3,
}
"""Actions without a fault, and how often they are chosen."""

FAULTS: dict[Action, int] = {
    kill: 12,
    load_late: 4,
    zombie_attempt: 3,
    two_runs_at_once: 3,
    restart_broker: 1,
    kill_broker_under_a_run: 1,
    cut: 6,
    restore: 5,
    recreate: 2,
}
"""Faults, and how often they are chosen."""


def _records(ground: Ground, rng: Random, count: int) -> list[Record]:
    """Records of every kind: new sign-ups, repeated ones with the same or other fields, malformed ones, tombstones."""
    partitions = len(ground.log().high)
    made = []
    for number in ground.numbers(count):
        kind, partition = rng.random(), rng.randrange(partitions)
        again = rng.randrange(ground.used)
        if kind < 0.65:
            value: bytes | None = good(number)
        elif kind < 0.75:
            value = good(again)
        elif kind < 0.8:
            value = good(again, username=f"conflict{number}")
        elif kind < 0.9:
            value = rng.choice(_SMALL_BAD)
        else:
            value = None
        made.append(Record(value, str(number).encode(), partition))
    return made


def _start(ground: Ground, rng: Random, most: int = 40, **changes: Any) -> SoakRun:
    """A run with a batch of its own, or one that loads what others have produced."""
    records = _records(ground, rng, rng.randint(1, most))
    own = rng.random() < 0.4
    if not own:
        ground.case.send(records)
    begun = ground.start(records if own else [], **changes)
    ground.produce(begun)
    return begun


def _one_by_one(ground: Ground, records: Sequence[Record]) -> None:
    for record in records:
        ground.case.send([record])


def _transaction(ground: Ground, rng: Random, end: Callable[[Transaction], None]) -> None:
    records = _records(ground, rng, rng.randint(1, 20))
    expected = ground.log().high
    transaction = Transaction(ground.case.topics.bootstrap, ground.case.topic, records)
    end(transaction)
    for partition in {record.partition for record in records}:
        expected[partition] += sum(record.partition == partition for record in records) + 1  # its marker
    ends = ground.case.topics.ends
    wait_for("the markers of a transaction", lambda: True if ends(ground.case.topic) == expected else None)


def _some_run(ground: Ground, rng: Random) -> SoakRun:
    known: Sequence[SoakRun] = [known for known in ground.runs if known.planned is not None]
    if not known:
        run(ground, rng)
        known = ground.runs[-1:]
    return rng.choice(known)
