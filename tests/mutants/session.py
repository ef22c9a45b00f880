"""Runs pytest again and again, each time in a fork of one process that has what third parties bring.

Importing that is most of what a quick test costs. Nothing of the project is imported before the fork, so that each
run has the files as they are. Standard input: orders, one a line; standard output: one answer a line.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

import pytest

_BROUGHT = (
    "confluent_kafka.admin",
    "duckdb",
    "httpx",
    "msgspec",
    "psycopg",
    "pyarrow.compute",
    "pyarrow.csv",
    "tenacity",
)
_LOOK_AGAIN_S = 0.05


class OneExample:
    """Lets Hypothesis stop at the first example that fails: nobody reads a smaller one."""

    def pytest_configure(self) -> None:
        """Set it; pytest must have looked for its plugins before Hypothesis is imported."""
        from hypothesis import Phase, settings

        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
        settings.load_profile("mutants")


def main() -> None:
    """Serve until standard input ends."""
    for name in _BROUGHT:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        started = time.monotonic()
        code = _code(order)
        print(json.dumps({"code": code, "took_s": time.monotonic() - started}), flush=True)  # noqa: T201 - the answer


def _code(order: dict[str, Any]) -> int | None:
    """Run pytest in a fork; give its exit code, or None when it took too long and was killed."""
    child = os.fork()
    if child == 0:
        _run(order)
    deadline = time.monotonic() + order["limit_s"]
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_AGAIN_S)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run(order: dict[str, Any]) -> NoReturn:
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, onto in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, onto)
    code = 3  # pytest's own for an internal error
    try:
        code = int(pytest.main(order["arguments"], plugins=[OneExample()]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
