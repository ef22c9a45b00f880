"""Writes a batch's report: one JSON document and one page, each replaced as a whole."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from topicledger.disks import FULL, disk_failed
from topicledger.errors import IntegrityError, SettingsError
from topicledger.model.ledger import LedgerRow, ReconciledBooks
from topicledger.model.manifest import Manifest
from topicledger.report.page import page
from topicledger.report.verdict import verdict_on

REPORT_VERSION = 1
"""Version of the JSON document's shape."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class ReportPaths(NamedTuple):
    """Where the report of a batch lies."""

    json: Path
    html: Path


def write_report(folder: Path, books: ReconciledBooks) -> ReportPaths:
    """Write `<batch_id>.<plan_id>.json` and `.html`; a repeat replaces them, and no reader ever sees a half.

    Args:
        folder: Made with mode 0700 when missing. Who may read reports is decided by its mode.
        books: The batch's books, closed or not.

    Returns:
        The two files.

    Raises:
        SettingsError: The folder can't be made or written to.
        RetriableError: Its disk is full.
        IntegrityError: The row's batch_id or plan_id can't be a file's name, so it isn't one of ours.
    """
    row = books.row
    stem = _stem(row)
    paths = ReportPaths(folder / f"{stem}.json", folder / f"{stem}.html")
    reasons = row.manifest.reasons if isinstance(row.manifest, Manifest) else {}
    content = _document(books, reasons)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(paths.json, json.dumps(content, indent=2) + "\n")
        _replace(paths.html, page(row, books.identities, books.partitions, reasons, paths.json.name))
    except OSError as error:
        if error.errno in FULL:
            lost = "the batch is loaded and its books are in the ledger"
            raise disk_failed(error, "writing the report", folder, lost) from error
        raise SettingsError(
            f"the report can't be written to {folder}: {error.strerror or error}. "
            "Make the folder writable for the user that runs the tasks, or name another one",
            batch_id=row.batch_id,
        ) from error
    return paths


def _stem(row: LedgerRow) -> str:
    for name in (row.batch_id, row.plan_id):
        if not _SAFE_NAME.match(name):
            raise IntegrityError(f"the ledger has {name!r} as an id, which this program never writes: look who did")
    return f"{row.batch_id}.{row.plan_id}"


def _document(books: ReconciledBooks, reasons: Mapping[str, int]) -> dict[str, Any]:
    verdict = verdict_on(books.row, books.identities)
    return {
        "report_version": REPORT_VERSION,
        "outcome": verdict.outcome,
        "summary": verdict.summary,
        "next_steps": list(verdict.next_steps),
        **msgspec.to_builtins(books),
        "dead_letter_reasons": dict(reasons),
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
