"""A look over a whole log and all files: what nobody committed, what is gone, whether the totals add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from topicledger.warehouse.contract import Audit
from topicledger.warehouse.lake.log import Log
from topicledger.warehouse.lake.log_entry import LogEntry
from topicledger.warehouse.lake.store import Store

_AT_ONCE = 8
_NAMED = 3


def audit(store: Store, log: Log, tip: LogEntry, folders: Mapping[str, str]) -> Audit:
    """Compare every entry up to `tip` with the files that are there. Nothing is changed.

    Args:
        store: Where they lie.
        log: The target's log.
        tip: Its newest entry.
        folders: The folder of each kind of file.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = list(pool.map(log.entry, range(1, tip.sequence + 1)))
    entries = [entry for entry in read if entry is not None]
    if len(entries) < len(read):
        return Audit(
            problems=(f"{len(read) - len(entries)} of {len(read)} entries of {log.where} are gone: restore them",)
        )
    logged = {(folders[file.kind], file.name): file.size_bytes for entry in entries for file in entry.files}
    there = {(folder, name): size for folder in folders.values() for name, size in store.sizes(folder)}
    return Audit(tuple(_orphans(logged, there)), (*_lost(logged, there, store.location), *_totals(entries, tip)))


def _orphans(logged: Mapping[tuple[str, str], int], there: Mapping[tuple[str, str], int]) -> Iterator[str]:
    orphans = there.keys() - logged.keys()
    if orphans:
        size = sum(there[file] for file in orphans)
        yield (
            f"{len(orphans)} orphaned files, {size:,} bytes, in no entry of the ledger: left by attempts that ended, "
            f"or being written now; such as {'/'.join(min(orphans))}"
        )


def _lost(logged: Mapping[tuple[str, str], int], there: Mapping[tuple[str, str], int], location: str) -> Iterator[str]:
    lost = sorted(file for file, size in logged.items() if there.get(file) != size)
    if lost:
        named = ", ".join("/".join(file) for file in lost[:_NAMED])
        yield (
            f"{len(lost)} files of the ledger are gone from {location} or have another size: {named}. "
            "Restore them: their records are in no other place of the warehouse"
        )


def _totals(entries: Sequence[LogEntry], tip: LogEntry) -> Iterator[str]:
    sums: Counter[tuple[str, int]] = Counter()
    for entry in entries:
        for applied in entry.row.applied if entry.row else ():
            sums[entry.row.topic_id if entry.row else "", applied.partition] += applied.length
    carried = {(t.topic_id, t.partition): t.applied for t in tip.totals}
    for topic_id, partition in sorted(carried.keys() | sums.keys()):
        total, added = carried.get((topic_id, partition)), sums[topic_id, partition]
        if total != added:
            yield (
                f"partition {partition} of {topic_id}: the newest entry carries {total} as applied, "
                f"all entries add up to {added}: somebody changed the log"
            )
