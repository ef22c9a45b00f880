"""Names that are derived, never chosen: which run a batch belongs to, and which content a plan has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

CONTRACT_VERSION = 2
"""Version of what consume hands to load: the staged files' format and the manifest. Part of every plan_id."""


def batch_id(dag_id: str, run_id: str) -> str:
    """Name a run: the same for every attempt of it, safe in a path, a group id and SQL.

    Returns:
        16 lower-case hexadecimal digits.
    """
    return _digest(dag_id, run_id)


def plan_id(target: str, topic_id: str, ranges: Iterable[tuple[int, int, int]]) -> str:
    """Name a content: the same for the same target, topic and ranges, whoever planned it and when.

    Args:
        target: The rows table's fully qualified name.
        topic_id: Kafka's id of the topic, which changes when it is recreated.
        ranges: (partition, start, end) of every planned partition, in any order.

    Returns:
        16 lower-case hexadecimal digits.
    """
    parts = [f"{partition}:{start}:{end}" for partition, start, end in sorted(ranges)]
    return _digest(target, topic_id, str(CONTRACT_VERSION), *parts)


def acceptance_id(target: str, topic_id: str, accepted: Iterable[str]) -> str:
    """Name an acceptance in the ledger, where a batch has its plan_id: the same for the same losses."""
    return _digest("acceptance", target, topic_id, *sorted(accepted))


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:16]
