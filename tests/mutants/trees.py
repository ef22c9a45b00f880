"""Copies of the project's files, in which a mutant can be set without touching the files that people edit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant, product

FAILED, BROKEN = "FAILED tests/", "ERROR tests/"
"""How pytest begins the lines of what failed, and of what it couldn't prepare."""

_OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:anyio", "--tb=short", "--no-header")
_LIMIT_S = 1_800.0


@dataclass(frozen=True)
class Outcome:
    """What a session of pytest came to.

    Args:
        code: pytest's exit code, or None when it took too long.
        took_s: How long it took.
        output: All that it printed.
    """

    code: int | None
    took_s: float
    output: str

    @property
    def failures(self) -> list[str]:
        """Each failure as pytest sums it up."""
        return [line for line in self.output.splitlines() if line.startswith((FAILED, BROKEN))]

    @property
    def last_line(self) -> str:
        """The first failure, or else the last line."""
        return next(iter([*self.failures, *self.output.split("\n")[-2:-1]]), "")


class Tree:
    """One copy, tracked files and new ones as they are now, with a folder for its tests' files beside it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._root = folder / "tree"
        self._scratch = folder / "t"
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._root / name)
        self._session = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.session"],
            cwd=self._root,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def broken_by(self, mutant: Mutant) -> Iterator[None]:
        """Set the mutant for as long as the block lasts."""
        texts = product(self._root)
        file, broken = mutant.set_in(texts)
        path = self._root / file
        try:
            _write(path, broken)
            yield
        finally:
            _write(path, texts[file])

    def run(self, node_ids: Sequence[str], *, stop: bool = True) -> Outcome:
        """Run some tests in a process of their own, up to the first that fails unless told otherwise."""
        options = [*_OPTIONS, *(["-x"] if stop else [])]
        output = self._scratch.with_suffix(".log")
        order = {
            "arguments": [*options, f"--basetemp={self._scratch}", *node_ids],
            "output": str(output),
            "limit_s": _LIMIT_S,
        }
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(f"{json.dumps(order)}\n")
        self._session.stdin.flush()
        answer = json.loads(self._session.stdout.readline())
        return Outcome(answer["code"], answer["took_s"], output.read_text(errors="replace"))

    def close(self) -> None:
        """End its session, with all that a test may have left."""
        with suppress(ProcessLookupError):
            os.killpg(self._session.pid, signal.SIGKILL)
        self._session.communicate()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python takes a compiled file for current by its source's second and size, which two mutants may share.
    Path(cache_from_source(str(path))).unlink(missing_ok=True)
