"""What became of the records of a read, counted as they are judged; and the error budget that it must keep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from topicledger.errors import IntegrityError

MANY, MOST = 100, 0.5
"""Of how many records on, and beyond which share, a batch of dead letters stops a run that declares no budget."""


@dataclass(slots=True)
class Tally:
    """Counts of one read, or of several that were joined.

    Args:
        records: Records judged, tombstones included.
        unknown_fields: Fields that the event type doesn't have.
        reasons: Dead letters by reason.
        first: Of each reason the lowest (partition, offset), and the sentence there.
    """

    records: int = 0
    unknown_fields: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def add_dead_letters(
        self, places: Iterable[tuple[int, int]], reasons: Sequence[str], sentences: Iterable[str]
    ) -> None:
        """Count dead letters: the (partition, offset), the reason and the sentence of each."""
        self.reasons.update(reasons)
        for (partition, offset), reason, sentence in zip(places, reasons, sentences, strict=True):
            self._note_first(reason, (partition, offset, sentence))

    def join(self, others: Iterable[Tally]) -> Tally:
        """Count what others counted, too; the order doesn't matter."""
        for other in others:
            self.records += other.records
            self.unknown_fields += other.unknown_fields
            self.reasons.update(other.reasons)
            for reason, first in other.first.items():
                self._note_first(reason, first)
        return self

    def require_within_budget(self, budget: float | None) -> None:
        """Do nothing, unless a larger share of all records than `budget` are dead letters.

        Without a budget a batch of `MANY` records or more must not be dead letters for the most part: that is a wrong
        declaration, not bad luck.

        Raises:
            IntegrityError: They are; it has each reason with its count and its first record, without a budget those of
                the three commonest.
        """
        dead_letters = self.reasons.total()
        allowed = budget if budget is not None else MOST if self.records >= MANY else 1.0
        # A quotient, not a product: a share that meets the budget exactly is then the very same float.
        if not dead_letters or dead_letters / self.records <= allowed:
            return
        share = dead_letters / self.records
        enough = min(1.0, math.ceil(share * 1_000) / 1_000)
        commonest = self.reasons.most_common(3 if budget is None else None)
        said = "; ".join(f"{count} {reason}, {self._first_of(reason)}" for reason, count in commonest)
        partition, offset, _ = min(self.first.values())
        raise IntegrityError(
            f"{dead_letters} of {self.records} records can't become rows: {share:.4g} of the batch, the error budget "
            f"is {allowed:g}. By reason: {said}. Nothing was staged or loaded. Look at them and have what produces "
            f"them mended; then trigger a run with the param error_budget at {enough:g} or more: it loads the same "
            "records, these as dead letters",
            code="error-budget-exceeded",
            partition=partition,
            offset=offset,
        )

    def _note_first(self, reason: str, first: tuple[int, int, str]) -> None:
        known = self.first.get(reason)
        if known is None or first < known:
            self.first[reason] = first

    def _first_of(self, reason: str) -> str:
        partition, offset, sentence = self.first[reason]
        # As a literal: what a record holds must not begin a line of the log.
        return f"the first at partition {partition}, offset {offset}: {sentence[:200]!r}"
