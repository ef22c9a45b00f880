"""Which tests repeat a proof, and how a session's processes share the rest: by module, or by a costly part."""

from __future__ import annotations

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped] # ships no types

_TOGETHER = (
    ("Airflow", ("tests/end_to_end/test_",)),
    ("the broker that trusts nobody", ("tests/faults/test_security_", "tests/integration/test_command_grants")),
)
"""A part that a process starts once, if at all, and the modules that have it; what takes longest comes first."""

_ALONE = ("tests/end_to_end/test_users_way.py",)
"""These look as if they had it, and have parts of their own."""


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process the tests of a module, or all that share a costly part."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((part for part, starts in _TOGETHER if _shares(module, starts)), module)


def repeats(item: pytest.Item) -> bool:
    """Tell whether a case does on DuckDB what PostgreSQL shows as well.

    Both databases pass the contract suite; behind the contract a run is the same on each.
    """
    on = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return (
        on.get("place", on.get("module_place")) == "duckdb"
        and not item.nodeid.startswith("tests/contract/")
        and item.get_closest_marker("both_databases") is None
    )


def rank(nodeid: str) -> int:
    """Tell how early a test comes, so that nothing long begins last."""
    module = nodeid.partition("::")[0]
    shares = [_shares(module, starts) for _, starts in _TOGETHER]
    return 0 if module in _ALONE else shares.index(True) if any(shares) else len(shares)


def _shares(module: str, starts: tuple[str, ...]) -> bool:
    return module.startswith(starts) and module not in _ALONE
