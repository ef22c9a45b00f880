"""Does what the clean-up's operator does before its shell command, for a root in S3; prints the command's variables.

Runs in a process of its own. Standard input: the root, and its connection as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from types import SimpleNamespace

from topicledger.airflow import Ledger
from topicledger.signups import SIGNUPS

if __name__ == "__main__":
    given = json.load(sys.stdin)
    os.environ["AIRFLOW_CONN_STAGING_DEFAULT"] = given["connection"]
    ledger, task = Ledger(dataclasses.replace(SIGNUPS, staging_dir=given["url"])), SimpleNamespace(env=None)
    ledger.clean_up()["pre_execute"]({"dag_run": SimpleNamespace(run_id="manual"), "params": {}, "task": task})
    print("\n" + json.dumps(task.env))  # noqa: T201 - the answer
