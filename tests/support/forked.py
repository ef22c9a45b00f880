"""Opens what a task opens, forks, and uses it in the fork as well: a program, so that no test process is forked.

Standard input says where the case is; the answer is what each use in the fork raised, and whether the parent
could go on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.support.step_process import ordered
from tests.support.steps import Case
from topicledger.kafka.reader import RangeReader
from topicledger.kafka.topic import TopicObserver
from topicledger.model.plan import Plan, PlannedRange


def in_a_fork(use: Callable[[], object]) -> str:
    """Say what a use raises in a fork of this process; the fork ends as Airflow's do, without tidying up."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        said = "nothing"
        try:
            use()
        except Exception as error:  # noqa: BLE001 - which one it is, is the answer
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.wait()
    return said


def kafka(case: Case) -> dict[str, Any]:
    """An observer of the topic, and a reader that has begun."""
    ranges = tuple(PlannedRange(p, 0, end, 0, None, 0) for p, end in case.topics.ends(case.topic).items())
    with (
        TopicObserver(case.kafka, case.topic) as observer,
        RangeReader(case.kafka, Plan("main.t", case.topic, observer.topic_id(), ranges), "a-group") as reader,
    ):
        chunks = reader.chunks()
        said = {"observer": in_a_fork(observer.state), "reader": in_a_fork(lambda: next(chunks))}
        read = sum(len(chunk.values) for chunk in reader.chunks())
        return {**said, "parent": [observer.topic_id() == case.topics.topic_id(case.topic), read]}


def warehouse(case: Case) -> dict[str, Any]:
    """A load that has begun; and, when it is over, the warehouse itself, which holds nothing open."""
    with closing(case.warehouse()) as opened:
        opened.ensure_tables()
        with opened.loading() as transaction:
            said = {"load": in_a_fork(transaction.lock_positions)}
            parent = len(transaction.lock_positions())
        return {**said, "new session": in_a_fork(lambda: opened.positions(case.topic)), "parent": parent}


if __name__ == "__main__":
    orders = json.load(sys.stdin)
    run = ordered(orders)
    answer = {"kafka": kafka, "warehouse": warehouse}[orders["step"]](run.case)
    print(json.dumps(answer))  # noqa: T201 - the answer
