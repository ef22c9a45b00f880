"""Programs of these tests, each run in a process of its own: Airflow stays out of the tests' process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devstack.home import ROOT

LIMIT_S = 240.0
"""How long a program may take; long enough that reaching it means that something hangs."""

SITE_PACKAGES = sysconfig.get_path("purelib")
DAGS, ENGINE = ROOT / "dags", ROOT / "src"


def ask(
    program: str,
    arguments: Sequence[str],
    home: Path,
    path: Sequence[Path | str],
    *,
    options: Sequence[str] = (),
    given: object = None,
) -> tuple[Any, str]:
    """Run a program of this folder; return its answer, and all that it printed.

    Args:
        program: Its file.
        arguments: Its arguments.
        home: AIRFLOW_HOME; no database is in it.
        path: PYTHONPATH.
        options: The interpreter's own options.
        given: What it reads, as JSON.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    environment = {**own, "AIRFLOW_HOME": str(home), "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-P", *options, str(Path(__file__).with_name(program)), *arguments],
        input=json.dumps(given),
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr
