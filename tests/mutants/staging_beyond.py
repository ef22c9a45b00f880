"""Breaks of steps 12, 13 and 21 where the staging root is in S3, or the staged files are Parquet."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

STAGE_S3 = (
    Mutant(
        "the manifest is sent first",
        ("step 12", "staging"),
        "for file in files:",
        "for file in reversed(files):",
        ("test_a_finished_batch_in_s3",),
        within="publish",
    ),
    Mutant(
        "an object that is there is overwritten",
        ("step 12", "staging"),
        'Metadata=metadata, IfNoneMatch="*")',
        "Metadata=metadata)",
        ("test_planted_object[csv-False]",),
    ),
    Mutant(
        "an object that is there is overwritten by one in parts",
        ("step 12", "staging"),
        'MultipartUpload=parts, IfNoneMatch="*")',
        "MultipartUpload=parts)",
        ("test_planted_object[csv-True]",),
    ),
    Mutant(
        "any object of the right size is taken for the attempt's own",
        ("step 12", "staging"),
        'found["Metadata"].get(_DIGEST) == sha256 and ',
        "",
        ("test_planted_object[csv-False]",),
    ),
    Mutant(
        "an attempt doesn't know its own object in parts again",
        ("step 12", "errors"),
        '("PreconditionFailed", "NoSuchUpload")',
        '("PreconditionFailed",)',
        ("test_a_lost_answer_to_parts",),
    ),
    Mutant(
        "an attempt that is given up leaves its objects",
        ("step 12", "staging"),
        "self._removed(stem)",
        "pass",
        ("test_planted_object[csv-False]",),
    ),
    Mutant(
        "what a killed attempt wrote stays on the machine",
        ("step 12", "staging"),
        "_sweep(name)",
        "",
        ("test_killed_while_staging[step-12.synced]",),
    ),
    Mutant(
        "an object of another size is fetched",
        ("step 13", "staging"),
        "size != expected.size_bytes:",
        "False:",
        ("test_exchanged_object",),
    ),
    Mutant(
        "a root may lead to another place",
        ("settings", "staging"),
        r"(?!\.\.?(?:/|\Z))",
        "",
        ("test_roots_that_cannot_be_used",),
    ),
    Mutant(
        "the clean-up in S3 removes every run's files",
        ("step 21", "guarantee 3"),
        'self._bucket.keys(f"{stem}.")',
        'self._bucket.keys("kafka_staging_")',
        ("test_cleaning_up",),
    ),
    Mutant(
        "the clean-up in S3 removes what is no staged file",
        ("step 21", "guarantee 3"),
        " if is_staged_name(name)]",
        "]",
        ("test_cleaning_up",),
    ),
    Mutant(
        "the clean-up in S3 takes any id",
        ("step 21", "guarantee 3"),
        "if not _BATCH_ID.match(batch_id):",
        "if False:",
        ("test_cleaning_up_what_is_no_run",),
    ),
)

STAGE_PARQUET = (
    Mutant(
        "Parquet is parsed before it is verified",
        ("step 13", "staging"),
        "self._reader.verify() copy.seek(0)",
        "copy.seek(0)",
        ("test_changed_parquet",),
    ),
    Mutant(
        "Parquet is parsed from another read than what is hashed",
        ("step 13", "staging"),
        "return parquet.ParquetFile(copy)",
        "return parquet.ParquetFile(open(self._reader._file.fileno(), 'rb', closefd=False))",
        ("test_parquet_that_changes_after_it_was_copied",),
    ),
    Mutant(
        "the last rows of a Parquet file aren't written",
        ("step 12", "guarantee 1"),
        "self._flush() self._writer.close()",
        "self._writer.close()",
        ("test_a_batch_in_parquet",),
    ),
    Mutant(
        "only the first row group of a Parquet file is loaded",
        ("step 13", "guarantee 1"),
        "range(file.num_row_groups)",
        "range(min(1, file.num_row_groups))",
        ("test_row_groups_are_bounded",),
    ),
)
