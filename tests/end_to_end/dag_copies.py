"""Copies of the shipped DAG file, each with a declaration of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.home import ROOT

SHIPPED = ROOT / "dags"


@dataclass(frozen=True)
class DagCopy:
    """The names of one copy, all derived from the test that it is for.

    Args:
        test: The test's name, with its parameters.
        stack: The folder of the stack that runs it.
    """

    test: str
    stack: Path

    @property
    def dag_id(self) -> str:
        """The DAG's id."""
        return re.sub(r"\W+", "_", self.test).strip("_")

    @property
    def topic(self) -> str:
        """The topic that no other copy has."""
        return f"topic.of.{self.dag_id}"

    @property
    def warehouse_conn_id(self) -> str:
        """The warehouse connection that no other copy has."""
        return f"warehouse_{self.dag_id}"

    @property
    def table(self) -> str:
        """The rows table, in a database that no other copy has."""
        return "signups_of_case"

    @property
    def staging_dir(self) -> Path:
        """The staging folder that no other copy has."""
        return self.stack / "staging" / self.dag_id

    def declared(self) -> Mapping[str, str]:
        """What its pipeline declares other than the shipped one."""
        return {"name": self.dag_id, "topic": self.topic, "table": self.table, "staging_dir": str(self.staging_dir)}

    def write(
        self, dags_folder: Path, changes: Mapping[str, str] | None = None, declared: Mapping[str, object] | None = None
    ) -> None:
        """Write the copy; `kafka_utils.py` lies beside it.

        Args:
            dags_folder: Where Airflow looks.
            changes: Lines to be found once each, to the lines that replace them.
            declared: What its pipeline declares beyond that.
        """
        self.staging_dir.mkdir(parents=True, mode=0o700)
        text = (SHIPPED / "user_etl_dag.py").read_text()
        text = _replaced(r"^WAREHOUSE_CONN_ID = .*$", f'WAREHOUSE_CONN_ID = "{self.warehouse_conn_id}"', text)
        text = _replaced(r'dag_id="robust_kafka_etl_pipeline"', f'dag_id="{self.dag_id}"', text)
        declared = {**self.declared(), **(declared or {})}
        own = f"import dataclasses, topicledger.signups as s; OWN = dataclasses.replace(s.SIGNUPS, **{declared!r})"
        text = _replaced(r'^SIGNUPS = Ledger\("topicledger.signups:SIGNUPS",', f"{own}\nSIGNUPS = Ledger(OWN,", text)
        # Only the test decides when there is a run.
        text = _replaced(r'schedule="@daily"', "schedule=None", text)
        for line, other in (changes or {}).items():
            text = _replaced(rf"^{re.escape(line)}$", other, text)
        (dags_folder / f"{self.dag_id}.py").write_text(text)


def write_kafka_side(dags_folder: Path) -> None:
    """Put `kafka_utils.py` there, as it is shipped."""
    shutil.copy(SHIPPED / "kafka_utils.py", dags_folder)


def _replaced(pattern: str, line: str, text: str) -> str:
    changed, times = re.subn(pattern, lambda _: line, text, flags=re.MULTILINE)
    assert times == 1, f"user_etl_dag.py has {pattern} {times} times"
    return changed
