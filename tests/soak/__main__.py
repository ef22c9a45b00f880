"""`make soak`: as many sequences as one likes, replayable by their seeds."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from devstack.broker import running_broker
from devstack.postgres import Postgres, running_postgres
from tests.soak.sequence import Bench, Outcome, run_sequence
from tests.soak.summary import failed, table

_BENCHES = 2
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the sequences; the status is 1 when one failed."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first sequence's seed")
    parser.add_argument("--sequences", type=int, default=1, help="how many, with the seeds that follow")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO if asked.sequences == 1 else logging.CRITICAL)
    for ending in _ENDINGS:  # also when it was started in the background
        signal.signal(ending, _stop)
    outcomes: list[Outcome] = []
    try:
        soak(list(range(asked.seed, asked.seed + asked.sequences)), outcomes)
    except KeyboardInterrupt:
        _say("stopped")
    _say(table(outcomes))
    return 1 if any(outcome.failure for outcome in outcomes) else 0


def soak(seeds: list[int], outcomes: list[Outcome]) -> None:
    """Run a sequence for each seed, on benches that take the next seed when they are free."""
    waiting, stopped, total = iter(seeds), threading.Event(), len(seeds)
    lock = threading.Lock()

    def work(postgres: Postgres, folder: Path) -> None:
        with running_broker(folder / "broker") as broker:
            bench = Bench(broker, postgres, folder)
            while not stopped.is_set():
                with lock:
                    seed = next(waiting, None)
                if seed is None:
                    return
                outcome = run_sequence(bench, seed)
                with lock:
                    outcomes.append(outcome)
                    _say(failed(outcome) if outcome.failure else _progress(outcome, len(outcomes), total))

    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="topicledger-soak-")))
        postgres = stack.enter_context(running_postgres(root / "pg"))
        pool = stack.enter_context(ThreadPoolExecutor(_BENCHES))
        stack.callback(stopped.set)
        folders = [root / f"bench-{number}" for number in range(min(_BENCHES, total))]
        for folder in folders:
            folder.mkdir()
        for working in [pool.submit(work, postgres, folder) for folder in folders]:
            working.result()


def _stop(_number: int, _frame: FrameType | None) -> None:
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_IGN)  # what is running ends by itself, and leaves nothing behind
    raise KeyboardInterrupt


def _progress(outcome: Outcome, done: int, total: int) -> str:
    return (
        f"{done}/{total}: seed {outcome.seed}, {outcome.warehouse}, {len(outcome.actions)} actions, "
        f"{len(outcome.points)} kills, {outcome.seconds:.1f} s"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
