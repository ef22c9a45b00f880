"""Breaks of the judge: bytes that no table should hold, or that mean something else than they say."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RECORDS = (
    Mutant(
        "U+0000 is let through",
        ("step 11", "records"),
        r'if data is None or b"\0" not in data.to_pybytes():',
        "if True:",
        ("unit/test_judge.py::test_bad_value[U+0000]",),
    ),
    Mutant(
        "a time without an offset is taken",
        ("step 11", "records"),
        "msgspec.Meta(tz=True)",
        "msgspec.Meta()",
        ("unit/test_judge.py::test_bad_value[naive time]",),
    ),
    Mutant(
        "a byte order mark is passed over",
        ("step 11", "records"),
        "decoded = map(astuple, map(self._decode_strict, values))",
        r'decoded = (astuple(self._decode_strict(value.removeprefix(b"\xef\xbb\xbf"))) for value in values)',
        ("unit/test_judge.py::test_bad_value[BOM]",),
    ),
    Mutant(
        "times outside the calendar are taken",
        ("step 11", "records"),
        "pc.or_(pc.less(counted, first), pc.greater(counted, last))",
        "pc.less(counted, first)",
        ("unit/test_judge.py::test_bad_value[time past year 9999]",),
    ),
    Mutant(
        "of a key's texts the longest alone is measured",
        ("step 11", "records"),
        "reduce(pc.add, map(pc.binary_length, texts))",
        "reduce(pc.max_element_wise, map(pc.binary_length, texts))",
        ("test_a_key_that_is_too_long_in_all",),
    ),
    Mutant(
        "a decimal is rounded to what its column holds",
        ("step 11", "records"),
        "traps=[InvalidOperation, Inexact]",
        "traps=[InvalidOperation]",
        ("unit/test_judge_event_types.py::test_a_decimal_that_doesnt_fit_is_never_rounded",),
    ),
    Mutant(
        "deep nesting is said to be broken JSON",
        ("step 11", "records"),
        "if isinstance(error, RecursionError):",
        "if False:",
        ("unit/test_judge.py::test_bad_value[nested 100,000 deep]",),
    ),
    Mutant(
        "what an event type's own code raises ends the task",
        ("step 11", "records"),
        "except Exception as error:  # noqa: BLE001 - the same",
        "except (msgspec.MsgspecError, ValueError, RecursionError) as error:",
        ("unit/test_judge_event_types.py::test_what_an_event_types_own_code_raises",),
    ),
    Mutant(
        "a StopIteration ends the chunk",
        ("step 11", "records"),
        "if index == len(values):",
        "if True:",
        ("unit/test_judge_event_types.py::test_what_an_event_types_own_code_raises",),
    ),
    Mutant(
        "rules hold before the clean-up only",
        ("step 11", "records"),
        "if check.field in changed and",
        "if False and",
        ("unit/test_judge.py::test_rules_hold_for_what_the_clean_up_makes",),
    ),
    Mutant(
        "bounds hold before the clean-up only",
        ("step 11", "records"),
        "if name in changed:\n                find_out_of_bounds(",
        "if False:\n                find_out_of_bounds(",
        ("unit/test_judge.py::test_rules_hold_for_what_the_clean_up_makes",),
    ),
    Mutant(
        "unknown fields aren't counted",
        ("step 11", "records"),
        "self.tally.unknown_fields += judged.unknown_fields",
        "pass",
        ("test_the_books_of_everything[duckdb]",),
    ),
    Mutant(
        "rules of texts aren't checked",
        ("step 11", "records"),
        "pc.match_substring_regex(array, pattern)",
        'pc.match_substring_regex(array, "")',
        ("unit/test_judge.py::test_bad_value[no UUID]",),
    ),
    Mutant(
        "a dead letter's sentence may hold U+0000",
        ("step 11", "records"),
        r'.replace("\0", "\\u0000")',
        "",
        ("test_a_quoted_nul_is_spelled_out",),
    ),
    Mutant(
        "Kafka's timestamp outside the calendar is staged",
        ("step 11", "records"),
        "pc.if_else(known, millis, None).cast(MILLISECONDS)",
        "millis.cast(MILLISECONDS)",
        ("test_times[duckdb]",),
    ),
    Mutant(
        "texts aren't trimmed",
        ("step 11", "records"),
        "cleaned[name] = pc.utf8_trim_whitespace(columns[name])",
        "cleaned[name] = columns[name]",
        ("unit/test_judge.py::test_clean_up_and_derived_columns",),
    ),
)
