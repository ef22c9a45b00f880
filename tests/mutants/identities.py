"""Breaks of the identities: each term left out, in the model and where the warehouse counts."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ACCOUNTS = "src/topicledger/model/accounts.py"
_DIALECT = "src/topicledger/warehouse/dialect.py"
_STAGED = "src/topicledger/warehouse/staged.py"
_DIALECT = "src/topicledger/warehouse/dialect.py"
_TERMS = ("test_every_falsified_term_is_named",)

IDENTITIES = (
    Mutant(
        "I1 always holds",
        ("I1",),
        _ACCOUNTS,
        'yield Identity("I1", text, p.end - p.start == p.gap + p.records + p.invisible)',
        'yield Identity("I1", text, holds=True)',
        _TERMS,
    ),
    Mutant(
        "I2 doesn't compare records with what was staged",
        ("I2",),
        _ACCOUNTS,
        "holds = records == staged.rows + staged.dead_letters + staged.tombstones",
        "holds = True",
        _TERMS,
    ),
    Mutant(
        "I2 lets coordinates repeat",
        ("I2",),
        _ACCOUNTS,
        "holds = holds and staged.distinct_coordinates == records",
        "holds = holds",
        _TERMS,
    ),
    Mutant(
        "I2 lets coordinates lie outside the plan",
        ("I2",),
        _ACCOUNTS,
        "holds = holds and staged.outside_plan == 0",
        "holds = holds",
        _TERMS,
    ),
    Mutant(
        "repeated coordinates are counted as distinct",
        ("I2",),
        _DIALECT,
        'distinct_offsets="bit_count(bit_or(CAST(1 AS UBIGINT) << CAST(s._kafka_offset & 63 AS UBIGINT)))"',
        'distinct_offsets="COUNT(s._kafka_offset)"',
        ("test_staged_counts_find_what_is_wrong[duckdb]",),
    ),
    Mutant(
        "coordinates outside the plan aren't counted",
        ("I2",),
        _STAGED,
        "COUNT(CASE WHEN p.partition IS NULL THEN 1 END) AS outside",
        "COUNT(CASE WHEN FALSE AND p.partition IS NULL THEN 1 END) AS outside",
        ("test_staged_counts_find_what_is_wrong[duckdb]",),
    ),
    Mutant(
        "I3 always holds",
        ("I3",),
        _ACCOUNTS,
        "records == a.already_loaded + a.loaded + a.duplicates + a.dead_letters + a.tombstones)",
        "holds=True)",
        _TERMS,
    ),
    Mutant(
        "I4 doesn't compare the ledger's sum with the position",
        ("I4",),
        _ACCOUNTS,
        "return self.applied == self.position - self.origin",
        "return True",
        _TERMS,
    ),
    Mutant(
        "I4 doesn't compare the batch's length with its counts",
        ("I4",),
        _ACCOUNTS,
        "length == a.gap + a.invisible + a.loaded + a.duplicates + a.dead_letters + a.tombstones,",
        "length == length,",
        _TERMS,
    ),
    Mutant(
        "I4 doesn't demand that applied ends with the plan",
        ("I4",),
        _ACCOUNTS,
        "if not (p.start <= r.start <= r.end == p.end):",
        "if False:",
        ("test_a_shifted_applied_range_is_named",),
    ),
    Mutant(
        "I4 doesn't miss a partition that the ledger lacks",
        ("I4",),
        _ACCOUNTS,
        'if missing:\n        yield Identity("I4"',
        'if False:\n        yield Identity("I4"',
        ("test_a_partition_that_the_ledger_lacks_breaks_the_receipt",),
    ),
    Mutant(
        "the ledger's sum is over all targets",
        ("I4",),
        _DIALECT,
        "AS r FROM {batches} WHERE target = ?)",
        "AS r FROM {batches} WHERE target <> ? || 'x')",
        ("test_history_and_snapshot[duckdb]",),
    ),
    Mutant(
        "I5 doesn't compare positions with the receipt's end",
        ("I5", "guarantee 2"),
        _ACCOUNTS,
        "if not behind:",
        "if True:",
        _TERMS,
    ),
    Mutant(
        "I5 lets more be missing than the cap left",
        ("I5", "guarantee 2"),
        _ACCOUNTS,
        "holds=missing <= manifest.left",
        "holds=True",
        ("test_a_cap_may_leave_the_receipt_for_later",),
    ),
    Mutant(
        "I5 doesn't compare acknowledged with seen",
        ("I5", "guarantee 2"),
        _ACCOUNTS,
        'return Identity("I5", f"acked_seen {seen} = acked {receipt.acked}", holds=missing == 0)',
        'return Identity("I5", f"acked_seen {seen} = acked {receipt.acked}", holds=True)',
        _TERMS,
    ),
    Mutant(
        "I5 doesn't demand a count where the plan has the whole receipt",
        ("I5", "guarantee 2"),
        _ACCOUNTS,
        "holds=not receipt.inside(p.range for p in manifest.partitions))",
        "holds=True)",
        ("test_a_receipt_in_the_plan_must_have_been_counted",),
    ),
    Mutant(
        "I5 lets invisible offsets excuse a topic that isn't compacted",
        ("I5",),
        _ACCOUNTS,
        "(0 if manifest.compacted is False else invisible)",
        "invisible",
        ("test_compaction_explains_no_more_than_the_invisible_offsets",),
    ),
    Mutant(
        "I5 lets a gap outside the receipt excuse it",
        ("I5",),
        _ACCOUNTS,
        "gap = sum(r.clipped_to(lost[r.partition]).length for r in receipt.ranges if r.length)",
        "gap = sum(p.gap for p in manifest.partitions)",
        ("test_a_gap_outside_the_receipt_excuses_nothing",),
    ),
    Mutant(
        "I5 lets compaction explain any number",
        ("I5",),
        _ACCOUNTS,
        "holds=0 <= missing <= allowed)",
        "holds=True)",
        ("test_compaction_explains_no_more_than_the_invisible_offsets",),
    ),
    Mutant(
        "an identity that doesn't hold stops nothing",
        ("guarantee 4", "I1", "I2", "I3", "I4", "I5"),
        _ACCOUNTS,
        "if broken:",
        "if False:",
        _TERMS,
    ),
)
