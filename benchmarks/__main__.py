"""`python -m benchmarks`: measure, and write the results down. `make bench` does it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.ground import running_ground
from benchmarks.run import Results, compare, compare_peers, grow

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Measure everything in one run."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the comparison")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100_000, 10_000_000], help="further sizes")
    parser.add_argument("--peers", action="store_true", help="measure the others, too")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="where the results go")
    chosen = parser.parse_args(arguments)
    if not shutil.which("kcat"):
        print(
            "kcat, the yardstick, is not on PATH.\n  Next: install it (Debian: apt-get install kcat), then try again",
            file=sys.stderr,
        )
        return 1
    results = Results(chosen.records, chosen.rounds)
    folder = Path(tempfile.mkdtemp(prefix="topicledger-bench-"))
    try:
        with running_ground(folder) as ground:
            for number in range(1, chosen.rounds + 1):
                print(f"round {number} of {chosen.rounds}, {chosen.records:,} records", flush=True)
                compare(ground, results)
                if chosen.peers:
                    compare_peers(ground, results)
            print(f"other sizes: {chosen.sizes}", flush=True)
            grow(ground, results, chosen.sizes, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    page = report.write(results, chosen.results)
    print(page.read_text())
    print(f"written to {page} and the JSON file beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
