"""Sets one mutant after another in copies of the project, and sees whether its tests notice."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.broker import running_broker
from devstack.topics import reachable
from tests.mutants.mutant import ROOT, Mutant, StaleError, product
from tests.mutants.trees import FAILED, Outcome, Tree

KILLED, SURVIVED, STALE, ERROR = "killed", "survived", "stale", "error"

OWN_TREE = "tests/unit/test_mutants.py::test_what_is_tested_is_this_tree"
"""Run before any mutant: proves that a copy's tests import the copy's code."""

_NO_BROKER = ("tests/unit/", "tests/docs/", "tests/dag/", "tests/contract/")


@dataclass(frozen=True)
class Result:
    """What became of one mutant, and the line that says why."""

    mutant: Mutant
    status: str
    took_s: float
    why: str


def run(mutants: Sequence[Mutant], workers: int, say: Callable[[str], None]) -> list[Result]:
    """Run every mutant's tests against it, after all of these tests have passed without any.

    Args:
        mutants: Which ones.
        workers: How many copies of the project work at the same time.
        say: Prints a line.

    Returns:
        One result per mutant, in their order; a baseline that fails gives an error for each.
    """
    texts = product(ROOT)
    stale = {mutant.name: _stale(mutant, texts) for mutant in mutants}
    results = {m.name: Result(m, STALE, 0.0, why) for m in mutants if (why := stale[m.name])}
    fitting = [mutant for mutant in mutants if mutant.name not in results]
    with _trees(workers, fitting) as (trees, broker):
        failures = _baseline(trees, fitting, say)
        waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in fitting:
            if failed := _failed(mutant, failures):
                results[mutant.name] = Result(mutant, ERROR, 0.0, f"without it: {failed}")
            else:
                waiting.put(mutant)
        told = threading.Lock()

        def work(tree: Tree) -> None:
            while True:
                try:
                    mutant = waiting.get_nowait()
                except queue.Empty:
                    return
                result = _result(mutant, tree, broker)
                with told:
                    results[mutant.name] = result
                    say(f"{len(results):4}/{len(mutants)} {line(result)}")

        _with_each(trees, work)
    return [results[mutant.name] for mutant in mutants]


def line(result: Result) -> str:
    """One result on one line."""
    of = ", ".join(result.mutant.of)
    why = "" if result.status == KILLED else f"  <- {result.why[:300]}"
    return f"{result.status:8} {result.took_s:6.1f} s  {result.mutant.name}  ({of}){why}"


def _stale(mutant: Mutant, texts: Mapping[str, str]) -> str:
    try:
        mutant.set_in(texts)
        mutant.node_ids()
    except StaleError as error:
        return str(error)
    return ""


@contextmanager
def _trees(workers: int, mutants: Sequence[Mutant]) -> Iterator[tuple[list[Tree], str]]:
    """Copies of the project, and one broker for all of them where one is needed."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment, bootstrap = {}, ""
        needed = any(not node.startswith(_NO_BROKER) for mutant in mutants for node in mutant.node_ids())
        if needed:
            bootstrap = stack.enter_context(running_broker(folder / "broker")).bootstrap
            environment["TOPICLEDGER_TEST_BROKER"] = bootstrap
        trees = [Tree(folder / str(number), environment) for number in range(workers)]
        try:
            yield trees, bootstrap
        finally:
            for tree in trees:
                tree.close()


def _with_each(trees: Sequence[Tree], work: Callable[[Tree], None]) -> None:
    """Work with all of them at once; an interrupt ends their sessions instead of waiting for them."""
    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            list(pool.map(work, trees))
        except BaseException:
            for tree in trees:
                tree.close()
            raise


def _baseline(trees: Sequence[Tree], mutants: Sequence[Mutant], say: Callable[[str], None]) -> list[str]:
    """Run all tests without a mutant; give a line for each that fails."""
    node_ids = sorted({node for mutant in mutants for node in mutant.node_ids()})
    shares = [[OWN_TREE, *node_ids[number :: len(trees)]] for number in range(len(trees))]
    started = time.monotonic()
    outcomes: list[Outcome] = []
    _with_each(trees, lambda tree: outcomes.append(tree.run(shares[trees.index(tree)], stop=False)))
    failures = [said for outcome in outcomes for said in outcome.failures]
    for outcome in outcomes:
        if outcome.code not in (0, 1):
            failures = [f"{FAILED} - pytest ended with {outcome.code}: {outcome.output[-1_000:]}"]
    say("\n".join([f"{len(node_ids)} tests without a mutant, in {time.monotonic() - started:.0f} s", *failures]))
    return failures


def _failed(mutant: Mutant, failures: Sequence[str]) -> str:
    """Which of the mutant's tests, or of those that all rest on, fails without it."""
    for failure in failures:
        name = failure.partition(" ")[2]
        for node in (*mutant.node_ids(), OWN_TREE):
            if name.startswith((node, "tests/ ")):
                return failure
    return ""


def _result(mutant: Mutant, tree: Tree, broker: str) -> Result:
    with tree.broken_by(mutant):
        outcome = tree.run(mutant.node_ids())
    status = {0: SURVIVED, 1: KILLED}.get(outcome.code if outcome.code is not None else -1, ERROR)
    why = outcome.last_line if outcome.code is not None else "took too long"
    if status == KILLED and broker and not reachable(broker, timeout_s=15):
        status, why = ERROR, "the broker no longer answers"
    return Result(mutant, status, outcome.took_s, why)
