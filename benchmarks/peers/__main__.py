"""`python -m benchmarks.peers NAME WORK`: one of the others, measured; only what it needs is imported."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from benchmarks.peers import PEERS
from benchmarks.peers.work import Work

if __name__ == "__main__":
    peer = PEERS[sys.argv[1]]
    measure = getattr(import_module(f"benchmarks.peers.{peer.module}"), peer.function)
    print(json.dumps(measure(Work.from_json(sys.argv[2]))))
