"""The keys under which a module repeats its tests of whole runs: a module asks for them by `EVERY_KEY = True`."""

from __future__ import annotations

import pytest

KEYS = (
    pytest.param("event_id", id=pytest.HIDDEN_PARAM),
    pytest.param(None, id="keyless", marks=pytest.mark.slow),
)
"""One column, as the sign-ups are declared, and none; several are the contract suite's and the soak's."""
