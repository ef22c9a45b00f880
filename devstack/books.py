"""What a run left behind for people: its accounts from XCom, its identities from the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devstack.airflow_api import AirflowApi
    from devstack.state import Standing

_ACCOUNTS_TASKS = ("reconcile_batch", "load_staged_data")
_SHARES = ("loaded", "duplicates", "dead_letters", "tombstones", "already_loaded")


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one run.

    Attributes:
        accounts: every account by its public name; empty when the run has none.
        identities: name, the equation with its numbers, and whether it holds.
        report: the JSON report, None when there is none.
        page: the same for people, as a page.
        batch_id: names the run in the warehouse.
    """

    accounts: Mapping[str, int | None]
    identities: tuple[tuple[str, str, bool], ...]
    report: Path | None
    page: Path | None
    batch_id: str

    @property
    def closed(self) -> bool:
        """Whether there are accounts, they add up here too, and every reported identity holds."""
        if not self.accounts or not self.identities:
            return False
        shares = sum(self.accounts.get(name) or 0 for name in _SHARES)
        return shares == self.accounts["records"] and all(holds for _, _, holds in self.identities)


def books_of(api: AirflowApi, standing: Standing, dag_id: str, run_id: str) -> Books:
    """Collects what a run published: the accounts by XCom, the identities in its report."""
    pushed = (api.xcom(dag_id, run_id, task, "accounts") for task in _ACCOUNTS_TASKS)
    accounts = next((_mapping(value) for value in pushed if value), {})
    report = _report(standing.airflow_home, run_id)
    content = json.loads(report.read_text()) if report else {}
    return Books(
        accounts=accounts,
        identities=tuple((i["name"], i["text"], i["holds"]) for i in content.get("identities", ())),
        report=report,
        page=report.with_suffix(".html") if report else None,
        batch_id=content.get("row", {}).get("batch_id", ""),
    )


def _mapping(value: Any) -> Mapping[str, int | None]:
    found: Mapping[str, int | None] = json.loads(value) if isinstance(value, str) else value
    return found


def _report(airflow_home: Path, run_id: str) -> Path | None:
    newest_first = sorted(airflow_home.glob("**/reports/*/*.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in newest_first:
        if json.loads(path.read_text()).get("row", {}).get("run_id") == run_id:
            return path
    return None
