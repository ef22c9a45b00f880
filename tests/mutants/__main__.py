"""`python -m tests.mutants [--workers N] [--why] [WORD ...]`: run those whose name, place or file has every word."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, StaleError, product
from tests.mutants.runner import KILLED, line, run


def main() -> int:
    """Run them, print a table; 0 only when each was noticed."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("words", nargs="*", help="only those whose name, place or file has every word")
    parser.add_argument("--workers", type=int, default=2, help="copies of the project that work at the same time")
    parser.add_argument("--why", action="store_true", help="also say which test noticed each, and what it said")
    given = parser.parse_args()
    texts = product(ROOT)
    wanted = [m for m in MUTANTS if all(word in f"{m.name} {' '.join(m.of)} {_file(m, texts)}" for word in given.words)]
    if not wanted:
        print(f"no mutant has {' and '.join(given.words)} in its name")  # noqa: T201
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.monotonic()
    results = run(wanted, given.workers, lambda said: print(said, flush=True))  # noqa: T201
    print(f"\n{'':8} {'':6}     mutant (what it breaks)")  # noqa: T201
    for result in sorted(results, key=lambda result: result.status == KILLED):
        why = f"\n{'':21}{result.why[:200]}" if given.why and result.status == KILLED else ""
        print(f"{line(result)}{why}")  # noqa: T201
    counted = Counter(result.status for result in results)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
    print(f"\n{len(results)} mutants in {time.monotonic() - started:.0f} s: {said}")  # noqa: T201
    return 0 if set(counted) == {KILLED} else 1


def _file(mutant: Mutant, texts: Mapping[str, str]) -> str:
    try:
        return mutant.set_in(texts)[0]
    except StaleError:
        return ""  # the runner says why


if __name__ == "__main__":
    sys.exit(main())
