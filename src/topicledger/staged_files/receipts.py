"""The receipt between two tasks: as it is while it is small, else as a staged file of the run and a handle.

A receipt has a range for each partition, and what Airflow keeps for a task has to stay small.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from topicledger.errors import IntegrityError, Repeat
from topicledger.model.plan import Receipt
from topicledger.staged_files.root import StagingRoot, path_in, require_inside
from topicledger.staged_files.writer import removed_unless_whole, stage_document

INLINE_BYTES = 2_000
"""Up to so many bytes of JSON a receipt travels as it is."""

_PRODUCE_AGAIN: Repeat = "produce"


@dataclass(frozen=True, slots=True)
class ReceiptHandle:
    """What travels by XCom instead of a large receipt.

    Args:
        path: The receipt's path.
        sha256: Digest of its bytes.
        batch_id: The run.
    """

    path: str
    sha256: str
    batch_id: str


def pushed_receipt(receipt: Receipt, root: StagingRoot, batch_id: str) -> dict[str, Any]:
    """Give what the produce task hands on; it takes at most `INLINE_BYTES` as JSON.

    Args:
        receipt: The receipt.
        root: The staging root; a large receipt becomes a file of this run in it, which the clean-up removes.
        batch_id: The run.

    Raises:
        SettingsError: The staging root isn't usable.
        RetriableError: It refuses for now.
    """
    inline: dict[str, Any] = msgspec.to_builtins(receipt)
    if len(json.dumps(inline)) <= INLINE_BYTES:
        return inline
    stem = f"kafka_staging_{batch_id}.{receipt.attempt}"
    with removed_unless_whole(root, stem):
        staged = stage_document(root, f"{stem}.receipt.json", receipt)
    return {"path": path_in(root, staged.name), "sha256": staged.sha256, "batch_id": batch_id}


def received_receipt(pushed: object, root: StagingRoot, batch_id: str, *, expected: bool) -> Receipt | None:
    """Give the receipt that the produce task handed on, or None where it had nothing to produce.

    Args:
        pushed: What came by XCom.
        root: The staging root.
        batch_id: This run.
        expected: Whether the run had something to produce.

    Raises:
        IntegrityError: It is missing, changed or another run's, or its file is gone.
        SettingsError: The handle's path lies outside the root.
    """
    if pushed is None:
        if not expected:
            return None
        raise IntegrityError(
            "the produce task's XCom `receipt` is missing, so nothing proves what this run produced",
            code="receipt-xcom-missing",
            repeat=_PRODUCE_AGAIN,
            batch_id=batch_id,
        )
    try:
        if isinstance(pushed, dict) and "path" in pushed:
            return _read(msgspec.convert(pushed, ReceiptHandle), root, batch_id)
        return msgspec.convert(pushed, Receipt)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            f"the produce task's XCom `receipt` was changed: {error}",
            code="receipt-xcom-changed",
            repeat=_PRODUCE_AGAIN,
            batch_id=batch_id,
        ) from error


def _read(handle: ReceiptHandle, root: StagingRoot, batch_id: str) -> Receipt:
    name = require_inside(root, handle.path, _PRODUCE_AGAIN)
    if handle.batch_id != batch_id or not name.startswith(f"kafka_staging_{batch_id}."):
        raise IntegrityError(
            f"the produce task's XCom `receipt` is {name} of batch {handle.batch_id!r:.40}, this is batch {batch_id}",
            code="receipt-of-another-batch",
            repeat=_PRODUCE_AGAIN,
            batch_id=batch_id,
        )
    try:
        with root.reading() as place, io.FileIO(place.open(name, _PRODUCE_AGAIN), "rb") as file:
            data = file.readall()
    except FileNotFoundError as error:
        raise IntegrityError(
            f"the receipt {handle.path} of batch {batch_id} is gone: the run was cleaned up, {root.missing} produced",
            code="receipt-gone",
            repeat=_PRODUCE_AGAIN,
            batch_id=batch_id,
        ) from error
    if hashlib.sha256(data).hexdigest() != handle.sha256:
        raise IntegrityError(
            f"the receipt {name} was changed after it was written: its sha256 is not {handle.sha256}",
            code="receipt-changed",
            repeat=_PRODUCE_AGAIN,
            batch_id=batch_id,
        )
    return msgspec.json.decode(data, type=Receipt)
