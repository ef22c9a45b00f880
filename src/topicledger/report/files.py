"""The report of a run: where it lies, and how it is written: a JSON document and a page, each as a whole."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import msgspec

from topicledger.disks import FULL, disk_failed
from topicledger.errors import SettingsError
from topicledger.model.identity import batch_id
from topicledger.model.ledger import ReconciledBooks
from topicledger.report.page import page
from topicledger.report.text import next_steps, outcome, summary

REPORT_VERSION = 1
"""Version of the JSON document's shape."""

_NOT_IN_A_NAME = re.compile(r"^[.-]+|[^A-Za-z0-9_.+-]")
_READABLE = 150
"""Characters of an id that its name shows: with all that comes behind them it stays below a file system's 255."""


def report_path(folder: Path, dag_id: str, run_id: str) -> Path:
    """Say where a run's page lies: `<folder>/<dag_id>/<run_id>.<batch_id>.html`, the JSON document beside it.

    The ids are shown as far as a path can show them, and whatever they hold, it lies two levels below the folder.
    The batch_id keeps apart those that look alike. It depends on the arguments alone, no file is looked for.
    """
    return folder / _name(dag_id) / f"{_name(run_id)}.{batch_id(dag_id, run_id)}.html"


def _name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("_", text)[:_READABLE] or "_"


def write_report(folder: Path, books: ReconciledBooks) -> Path:
    """Write a run's page and JSON document; a repeat, or another plan of the run, replaces them, each as a whole.

    Args:
        folder: Made with mode 0700 when missing. Who may read reports is decided by its mode.
        books: The batch's books, closed or not.

    Returns:
        The page, at its `report_path`.

    Raises:
        SettingsError: The folder can't be made or written to.
        RetriableError: Its disk is full.
    """
    path = report_path(folder, books.row.pipeline, books.row.run_id)
    document = path.with_suffix(".json")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        _replace(document, json.dumps(_document(books), indent=2) + "\n")
        _replace(path, page(books, document.name))
    except OSError as error:
        if error.errno in FULL:
            lost = "the batch is loaded and its books are in the ledger"
            raise disk_failed(error, "writing the report", folder, lost) from error
        raise SettingsError(
            f"the report can't be written to {folder}: {error.strerror or error}. "
            "Make the folder writable for the user that runs the tasks, or name another one",
            code="report-not-writable",
            batch_id=books.row.batch_id,
        ) from error
    return path


def _document(books: ReconciledBooks) -> dict[str, Any]:
    shown = msgspec.to_builtins(books)
    return {
        "report_version": REPORT_VERSION,
        "outcome": outcome(books),
        "summary": f"{summary(books)}.",
        "next_steps": next_steps(books),
        **shown,
        "dead_letter_reasons": shown["row"]["manifest"]["reasons"],
    }


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o644), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
