"""Python's search for cycles, put off while very many objects pass through that have none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 1_000_000


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Search for cycles only every million new objects, not every few hundred, until the block ends.

    Each search looks through all that is alive, in a task's process all of Airflow, which doubled what the client
    takes for a record; and it finds nothing, since records are freed by their counts (docs/decisions/0026).
    """
    before = gc.get_threshold()
    gc.set_threshold(_SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
