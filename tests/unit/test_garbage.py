"""Python's search for cycles while records pass."""

from __future__ import annotations

import gc
from contextlib import suppress

from topicledger.cycle_search import seldom_collected


def test_the_search_is_put_off_and_comes_back() -> None:
    """Inside the block a search needs far more new objects; behind it, also behind an error, as many as before."""
    before = gc.get_threshold()
    with suppress(ValueError), seldom_collected():
        during = gc.get_threshold()
        raise ValueError("broken")
    assert during[0] > 100 * before[0]
    assert gc.isenabled()
    assert gc.get_threshold() == before
