"""A warehouse that miscounts: everything is the real one's but a single term of the accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from topicledger.model.accounts import AppliedCounts, PartitionBooks, StagedCounts
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.contract import LoadTransaction, Warehouse

_Counts = TypeVar("_Counts")


class Falsified:
    """A warehouse whose load transaction gives one count wrongly by one.

    Args:
        warehouse: The real one.
        method: Which call of the load transaction lies: count_staged, apply or applied_sums.
        term: The count that is wrong.
    """

    def __init__(self, warehouse: Warehouse, method: str, term: str) -> None:
        self._warehouse = warehouse
        self._method = method
        self._term = term

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    @contextmanager
    def loading(self) -> Iterator[LoadTransaction]:
        """The real transaction, with the one lie."""
        with self._warehouse.loading() as transaction:
            yield _Lying(transaction, self._method, self._wrong)

    def _wrong(self, counts: Any) -> Any:
        return msgspec.structs.replace(counts, **{self._term: getattr(counts, self._term) + 1})


class _Lying:
    def __init__(self, transaction: LoadTransaction, method: str, wrong: Callable[[Any], Any]) -> None:
        self._transaction = transaction
        self._method = method
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def count_staged(self, planned: Sequence[OffsetRange]) -> StagedCounts:
        counts = self._transaction.count_staged(planned)
        return self._told("count_staged", counts)

    def apply(self, manifest: Manifest, applied: Sequence[OffsetRange]) -> AppliedCounts:
        return self._told("apply", self._transaction.apply(manifest, applied))

    def applied_sums(self) -> Sequence[PartitionBooks]:
        first, *others = self._transaction.applied_sums()
        return [self._told("applied_sums", first), *others]

    def _told(self, method: str, counts: _Counts) -> _Counts:
        told: _Counts = self._wrong(counts) if method == self._method else counts
        return told
