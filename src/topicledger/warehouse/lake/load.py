"""One load into files and log, in the order of steps 13 to 19. Counting is the SQL warehouses', on empty tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pyarrow as pa

from topicledger.crash_points import crash_point
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.accounts import AppliedCounts, PartitionBooks, StagedCounts
from topicledger.model.ledger import LedgerRow
from topicledger.model.manifest import Manifest
from topicledger.model.plan import OffsetRange, Position
from topicledger.pipeline import Pipeline
from topicledger.warehouse.contract import StagedStreams
from topicledger.warehouse.lake.log import Log
from topicledger.warehouse.lake.log_entry import LogEntry, LoggedColumn, require_positions
from topicledger.warehouse.lake.parquet import WrittenFile, write_files
from topicledger.warehouse.lake.scratch import Scratch
from topicledger.warehouse.lake.store import Store
from topicledger.warehouse.lake.views import folders
from topicledger.warehouse.sql.dialect import DUCKDB
from topicledger.warehouse.sql.ledger import LedgerTables
from topicledger.warehouse.sql.staged_tables import StagedSql
from topicledger.warehouse.sql.tables import Tables
from topicledger.warehouse.sql.transaction import SqlLoad


class LakeLoad:
    """Implements `topicledger.warehouse.contract.LoadTransaction`.

    `lock_positions` locks nothing: it reads the newest entry, and `commit` is refused when another followed it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        tables: Tables,
        scratch: Scratch,
        store: Store,
        log: Log,
        columns: Callable[[LogEntry], tuple[LoggedColumn, ...]],
    ) -> None:
        self._tables = tables
        self._scratch = scratch
        self._store = store
        self._log = log
        self._columns = columns
        staged = StagedSql(pipeline, tables, DUCKDB)
        self._counted = SqlLoad(scratch, tables, LedgerTables(tables, DUCKDB), staged)
        self._before: LogEntry | None = None
        self._after: LogEntry | None = None

    def copy_staged(self, manifest: Manifest, parts: Sequence[StagedStreams]) -> None:
        """Step 13: copy the staged files into the scratch database."""
        self._counted.copy_staged(manifest, parts)

    def lock_positions(self) -> Sequence[Position]:
        """Step 14: read the newest entry; the commit holds only when it still is the newest."""
        self._before = self._log.require_tip()
        return self._before.positions

    def find_batch(self, batch_id: str, plan_id: str) -> LedgerRow | None:
        """Step 15: the ledger row of this plan of this run, when it was loaded already."""
        return self._log.find(self._read(), batch_id, plan_id)

    def count_staged(self, planned: Sequence[OffsetRange]) -> StagedCounts:
        """I2: recount what was copied."""
        return self._counted.count_staged(planned)

    def apply(self, manifest: Manifest, applied: Sequence[OffsetRange]) -> AppliedCounts:
        """Steps 17 and 18: keep what lies inside `applied`; duplicates and conflicts are those within the batch."""
        return self._counted.apply(manifest, applied)

    def advance(self, positions: Sequence[Position], row: LedgerRow) -> None:
        """Step 19: make the entry that would follow."""
        before = self._read()
        require_positions(before, positions)
        self._after = self._log.extended(before, positions=positions, row=row, columns=self._columns(before))

    def applied_sums(self) -> Sequence[PartitionBooks]:
        """I4: positions and running totals as the entry has them."""
        return (self._after or self._read()).books

    def commit(self) -> None:
        """Write the files, then create the entry: the files exist through it alone."""
        assert self._after is not None  # noqa: S101 - advance() comes first; this is for the type checker
        files = self._files()
        self._require_counts(files, self._after)
        for file in files:
            self._store.upload(f"{folders(self._tables)[file.entry.kind]}/{file.entry.name}", file.path)
        crash_point("step-19.files_written")
        self._log.append(msgspec.structs.replace(self._after, files=tuple(file.entry for file in files)))
        crash_point("step-19.entry_created")

    def _read(self) -> LogEntry:
        assert self._before is not None  # noqa: S101 - lock_positions() comes first; this is for the type checker
        return self._before

    def _files(self) -> list[WrittenFile]:
        made = []
        for kind, table in (("rows", self._tables.rows), ("dead_letters", self._tables.dead_letters)):
            try:
                rows = self._scratch.rows(table.sql, table.columns)
                made += write_files(rows, table.columns, kind, self._scratch.folder)
            except pa.ArrowException as error:
                raise RetriableError(
                    f"writing the Parquet files of {self._tables.target} in {self._scratch.folder} failed: "
                    f"{' '.join(str(error).split())[:300]}. Nothing was committed; try again",
                    code="parquet-writing-failed",
                ) from error
        return made

    def _require_counts(self, files: Sequence[WrittenFile], entry: LogEntry) -> None:
        """The files have what the accounts say, by their own count."""
        accounts = entry.row.accounts if entry.row else None
        for kind, counted in (("rows", "loaded"), ("dead_letters", "dead_letters")):
            records = sum(file.entry.records for file in files if file.entry.kind == kind)
            expected = getattr(accounts, counted, 0)
            if records != expected:
                raise IntegrityError(
                    f"the Parquet files of {self._tables.target} have {records} {kind}, the accounts have {expected}: "
                    "nothing was committed; keep the log and report it",
                    code="parquet-counts-differ",
                )
