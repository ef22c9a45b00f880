"""Others at the same work: read the topic, judge each record, clean it up, write it down, keep what is malformed.

They stop at what they do: no ledger, no checksum, no books. benchmarks/README.md says what each does and doesn't.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One of them.

    Args:
        module: Where it is, in this package.
        function: What measures it.
        locked: It runs in the environment of `requirements/peers.txt`; else in the project's own.
        share: It gets this part of the records, because it takes so much longer.
        below: It is to be had only for a Python older than this.
    """

    module: str
    function: str
    locked: bool = False
    share: int = 1
    below: tuple[int, int] = (4, 0)

    @property
    def runs_here(self) -> bool:
        """Whether it is to be had for this Python."""
        return sys.version_info[:2] < self.below


PEERS = {
    "airflow_operator": Peer("airflow_operator", "consume"),
    "connect_json": Peer("kafka_connect", "json_values"),
    "connect_strings": Peer("kafka_connect", "string_values"),
    "bytewax": Peer("bytewax_flow", "run", locked=True, below=(3, 13)),
    "quixstreams": Peer("quixstreams_application", "run", locked=True),
    "dlt": Peer("dlt_pipeline", "run", locked=True, share=10),
}
