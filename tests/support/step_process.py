"""One step of a run in a process of its own, so that a kill takes the step and nothing else.

`run_step` starts it; the process reads its orders from standard input and prints what it leaves for the next task.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kafka_utils import StagedResult
from tests.support.records import good
from tests.support.steps import Case, OneRun
from tests.support.topics import LIMIT_S, Topics, wait_for
from topicledger.model.plan import Receipt
from topicledger.signups import SIGNUPS
from topicledger.warehouse.contract import WarehouseSettings

RECORDS = 2_500
"""How many records the step `produce` sends."""

_FIRST_KNOWN = 900


def records(topics: Topics, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """The batch of the step `produce`; it goes on behind the first part only when some of that is on the broker."""
    for number in range(RECORDS):
        if number == _FIRST_KNOWN:
            wait_for("the first records", lambda: sum(topics.ends(topic).values()) or None)
        yield str(number).encode(), good(number) if number % 50 else b"malformed %d" % number


def run_step(run: OneRun, step: str, crash: tuple[Path, str] | None = None) -> bool:
    """Run one step in a new process, and take over what it leaves for the next.

    Args:
        run: The run; it gets the step's receipt or staged batch.
        step: produce, consume or load.
        crash: A folder, and the point in it at which the process sends itself SIGKILL.

    Returns:
        Whether the step came to its end; False when it was killed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if crash is not None:
        folder, point = crash
        (folder / point).touch()
        environment["TOPICLEDGER_CRASH_DIR"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.step_process"],
        input=json.dumps(_orders(run, step)).encode(),
        env=environment,
        capture_output=True,
        check=False,
        timeout=2 * LIMIT_S,
    )
    if crash is not None:
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-3_000:]
        return False
    assert done.returncode == 0, done.stderr.decode()[-3_000:]
    _take_over(run, json.loads(done.stdout))
    return True


def _orders(run: OneRun, step: str) -> dict[str, Any]:
    pipeline = run.case.pipeline
    return {
        "step": step,
        "bootstrap": run.case.topics.bootstrap,
        "place": {**dataclasses.asdict(run.case.place), "extra": {}},
        "pipeline": {"name": pipeline.name, "topic": pipeline.topic, "staging_dir": pipeline.staging_dir},
        "run": run.name,
        "left": _left(run),
    }


def _left(run: OneRun) -> dict[str, Any]:
    return {"receipt": msgspec.to_builtins(run.receipt), "staged": msgspec.to_builtins(run.staged)}


def _take_over(run: OneRun, left: dict[str, Any]) -> None:
    run.receipt = msgspec.convert(left["receipt"], Receipt | None)
    run.staged = msgspec.convert(left["staged"], StagedResult | None)


def _ordered(orders: dict[str, Any]) -> OneRun:
    pipeline = dataclasses.replace(SIGNUPS, **orders["pipeline"])
    case = Case(Topics(orders["bootstrap"]), WarehouseSettings(**orders["place"]), pipeline)
    run = OneRun(case, orders["run"])
    _take_over(run, orders["left"])
    return run


def main() -> None:
    """Do what standard input orders."""
    orders = json.load(sys.stdin)
    run = _ordered(orders)
    match orders["step"]:
        case "produce":
            run.produce(records(run.case.topics, run.case.topic))
        case "consume":
            run.consume()
        case "load":
            run.load()
    json.dump(_left(run), sys.stdout)


if __name__ == "__main__":
    main()
