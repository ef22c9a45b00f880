"""What a pipeline declares: its topic, event type, columns, table and policies. Pure declarations, no I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from topicledger.columns import COLUMN_TYPES, Column, is_column_type
from topicledger.errors import SettingsError
from topicledger.event_fields import columns_of, typed
from topicledger.formats import Format, Json
from topicledger.unique_key import Key, key_names, require_key

if TYPE_CHECKING:
    import msgspec
    import pyarrow as pa

CleanUp = Callable[[Mapping[str, "pa.Array[Any]"]], Mapping[str, "pa.Array[Any]"]]
"""Arrow columns of the event's fields to Arrow columns of the table, of the same length and order."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}\Z")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
_NAME = re.compile(r"[\w.-]{1,250}\Z")
_SYSTEM_COLUMNS = frozenset(["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"])
"""Names that PostgreSQL gives no other column, even quoted. Reserved words are fine: every name is quoted."""
UNKNOWN_FIELDS = "_unknown_fields"
_KEPT = {
    "unknown": Column(UNKNOWN_FIELDS, "json", nullable=True),
    "raw": Column("_kafka_value", "bytes"),
    "key": Column("_kafka_key", "text", nullable=True),
    "key_bytes": Column("_kafka_key_bytes", "bytes", nullable=True),
    "headers": Column("_kafka_headers", "json"),
    "topic": Column("_kafka_topic", "text"),
}
"""What else of a record may be kept, in the columns' order. A key as text has what isn't UTF-8 spelled out."""

_LONGEST_WAIT_S = 86_400
_JSON = Json()
_DERIVED: Any = None
"""The default of what follows from the topic or the event."""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that a text field must meet: checked for a whole chunk at once, far cheaper than in the event type.

    It holds for what was sent, so that the clean-up may rely on it, and for what the clean-up makes of it, where a
    column of text has the field's name.

    Args:
        field: The event's field, a text; NULL passes.
        pattern: A regular expression (RE2, whose `\\s` is ASCII) that must match somewhere in the value.
        sentence: What a value must be, for the dead letter: "is not ...".
    """

    field: str
    pattern: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A declared pipeline. Construction validates it, so that a typo is found before the first record.

    Args:
        topic: The Kafka topic.
        event: The msgspec type that a record must have; by default the one that follows from the format's schema file.
        key: The column that is unique in the table, or a tuple of those that are together: a repeat is counted as a
            duplicate. None: nothing is one, and a record is loaded once by its position alone.
        table: The rows table, optionally `schema.table`; by default named as the topic, in lower case and with
            underscores. Dead letters go to `<table>_dead_letters`.
        name: The DAG's id; prefix of the consumer groups and name in the ledger. By default `<topic>_to_<table>`.
        columns: The rows table's columns, in order; by default the event's own, `columns_of(event)`.
        clean: The clean-up: Arrow columns of the event's fields to those of `columns`. Vectorised, so that it
            costs next to nothing a record. It must not drop or reorder. None: the fields go into the table as they are.
        checks: Rules for text fields beyond the event type's own.
        format: In which format the records are.
        keep: What else of a record goes into columns of its own: `unknown` (the fields that the event type doesn't
            have, as JSON), `raw` (the value), `key` (as text), `key_bytes`, `headers`, `topic`.
        origin: Where the very first run starts: `earliest` or `latest`.
        max_records: A cap on the offsets that one run reads, or None.
        error_budget: Share of one batch's records, from 0 to 1, that may become dead letters; beyond it nothing of
            the batch is staged or loaded until a person looks. None: half of a batch of 100 or more, of fewer any.
        create_tables: Whether missing tables are created; else a DBA does, with `topicledger check`'s DDL.
        staging_dir: Where staged files lie between two tasks: a folder that is sticky (such as /tmp), or 0700 and ours;
            or `s3://bucket/prefix`, so that no task needs another one's disk.
        reading_processes: How many processes read; None: as many as the batch is worth, up to the worker's cores.
            Each may take 300 MB.
        staging_format: `csv`, or `parquet`, which is smaller and has types; the rows in the warehouse are the same.
        transaction_wait_s: How long planning waits for an open transaction below this run's own records.

    Raises:
        SettingsError: A declared value can't work.
    """

    topic: str
    event: type[msgspec.Struct] = _DERIVED
    _: KW_ONLY
    key: Key = None
    table: str = _DERIVED
    name: str = _DERIVED
    columns: tuple[Column, ...] = _DERIVED
    clean: CleanUp | None = None
    checks: tuple[Check, ...] = ()
    format: Format = _JSON
    keep: tuple[str, ...] = ()
    origin: Literal["earliest", "latest"] = "earliest"
    max_records: int | None = None
    error_budget: float | None = None
    create_tables: bool = True
    staging_dir: str = "/tmp"  # noqa: S108 - the mission's folder; the staging module checks that it is sticky
    reading_processes: int | None = None
    staging_format: Literal["csv", "parquet"] = "csv"
    transaction_wait_s: float = 30.0

    def __post_init__(self) -> None:
        self._require_texts("topic", "staging_dir")
        if not _TOPIC.match(self.topic):
            raise SettingsError(
                f"topic {self.topic!r} is not a valid Kafka topic name: use letters, digits, '.', '_' and '-'",
                code="topic-name-invalid",
            )
        if not isinstance(self.format, Format):
            raise SettingsError(
                f"topic {self.topic}: format is {self.format!r:.100}: use Json(), Avro(), Protobuf() or JsonSchema()",
                code="format-invalid",
            )
        self._derive("event", lambda: getattr(self.format, "event_type", lambda: None)())
        # A Struct is told by its fields: msgspec is imported by who declares one, and not otherwise.
        event: object = self.event
        if not isinstance(event, type) or not hasattr(event, "__struct_fields__"):
            raise SettingsError(
                f"topic {self.topic}: its event is {event!r:.100}: declare a class derived from msgspec.Struct",
                code="event-type-invalid",
            )
        self._derive("table", lambda: table_of(self.topic))
        self._derive("name", lambda: f"{self.topic}_to_{self.table}")
        self._derive("columns", lambda: columns_of(self.event))
        self._require_texts("table", "name")
        if not _NAME.match(self.name):
            raise SettingsError(
                f"name {self.name!r:.300} can't be a DAG's id: use letters, digits, '.', '_' and '-'",
                code="pipeline-name-invalid",
            )
        self._require_columns()
        require_key(self.name, self.key, self.columns)
        self._require_table()
        self._require_clean_and_keep()
        self._require_policies()

    def _derive(self, argument: str, derived: Callable[[], object]) -> None:
        if getattr(self, argument) is _DERIVED:
            object.__setattr__(self, argument, derived())

    def _require_texts(self, *arguments: str) -> None:
        for argument in arguments:
            if not isinstance(getattr(self, argument), str):
                raise SettingsError(
                    f"{argument} is {getattr(self, argument)!r:.100}: use a text", code="argument-not-text"
                )

    def _require_columns(self) -> None:
        for argument, kind in (("columns", Column), ("checks", Check)):
            given = getattr(self, argument)
            if not isinstance(given, tuple | list) or not all(isinstance(item, kind) for item in given):
                raise SettingsError(
                    f"pipeline {self.name}: {argument} is {given!r:.100}: use a tuple of {kind.__name__}(...), which "
                    "ends with a comma where it has one alone",
                    code="argument-not-a-tuple",
                )
        for column in self.columns:
            _require_identifier(column.name)
        object.__setattr__(self, "columns", tuple(typed(self.event, column) for column in self.columns))
        for column in self.columns:
            self._require_column(column)
        for check in self.checks:
            if not all(isinstance(text, str) for text in (check.field, check.pattern, check.sentence)):
                raise SettingsError(
                    f"pipeline {self.name}: {check!r:.200} isn't made of three texts: correct it",
                    code="check-malformed",
                )
        names = [column.name for column in self.columns]
        folded = Counter(name.lower() for name in names)
        twice = [name for name in names if folded[name.lower()] > 1]
        if twice:
            raise SettingsError(
                f"pipeline {self.name} declares a column twice: {', '.join(twice)}. Rename one; upper and lower case "
                "don't tell names apart in every warehouse",
                code="column-twice",
            )

    def _require_clean_and_keep(self) -> None:
        if self.clean is not None and not callable(self.clean):
            raise SettingsError(
                f"pipeline {self.name}: clean is {self.clean!r:.100}: use a function, or None for none",
                code="clean-not-a-function",
            )
        keep: object = self.keep
        if not isinstance(keep, tuple | list) or [name for name in keep if name not in list(_KEPT)]:
            raise SettingsError(
                f"pipeline {self.name}: keep is {self.keep!r:.100}: use some of {', '.join(_KEPT)}", code="keep-invalid"
            )

    def _require_column(self, column: Column) -> None:
        if column.name.startswith("_"):
            raise SettingsError(
                "column names that start with an underscore belong to the engine", code="column-underscored"
            )
        if column.name.lower() in _SYSTEM_COLUMNS:
            raise SettingsError(
                f"pipeline {self.name}: the column {column.name} can't be in a table of PostgreSQL, which has a system "
                "column of that name: rename it",
                code="column-name-reserved",
            )
        if not is_column_type(column.type):
            raise SettingsError(
                f"pipeline {self.name}: the column {column.name} has the type {column.type!r:.100}: use one of "
                f"{', '.join(COLUMN_TYPES)}",
                code="column-type-unknown",
            )
        if not isinstance(column.nullable, bool):
            raise SettingsError(
                f"pipeline {self.name}: the column {column.name} is nullable={column.nullable!r:.99}: use True or "
                "False",
                code="column-nullable-invalid",
            )

    def _require_table(self) -> None:
        for identifier in self.table.split("."):
            _require_identifier(identifier)
        if self.table.count(".") > 1:
            raise SettingsError(f"table {self.table!r}: use `table` or `schema.table`", code="table-name-invalid")
        schema, _, table = self.table.lower().rpartition(".")
        if table.startswith(("topicledger_", "_topicledger")) or table.endswith("_dead_letters"):
            raise SettingsError(
                f"table {self.table!r} has a name that the engine gives its own tables: it may not begin with "
                "topicledger_, nor end with _dead_letters. Choose another",
                code="table-name-reserved",
            )
        if schema.startswith("pg_") or schema == "information_schema":
            raise SettingsError(
                f"table {self.table!r} lies in a schema that belongs to the database: choose another",
                code="table-schema-reserved",
            )

    def _require_policies(self) -> None:
        if self.origin not in ("earliest", "latest"):
            raise SettingsError(f"origin is {self.origin!r}: use 'earliest' or 'latest'", code="origin-invalid")
        if self.max_records is not None and not _is_positive(self.max_records):
            raise SettingsError(
                f"max_records is {self.max_records!r}: use a positive number, or None for no cap",
                code="max-records-invalid",
            )
        if self.reading_processes is not None and not _is_positive(self.reading_processes):
            raise SettingsError(
                f"reading_processes is {self.reading_processes!r}: use a positive number, or None for as many as the "
                "batch is worth",
                code="reading-processes-invalid",
            )
        if self.error_budget is not None and not _is_within(self.error_budget, 1):
            raise SettingsError(
                f"error_budget is {self.error_budget!r}: use a share from 0 to 1, or None for no budget",
                code="error-budget-invalid",
            )
        if not isinstance(self.create_tables, bool):
            raise SettingsError(
                f"create_tables is {self.create_tables!r}: use True or False", code="create-tables-invalid"
            )
        if self.staging_format not in ("csv", "parquet"):
            raise SettingsError(
                f"staging_format is {self.staging_format!r}: use 'csv' or 'parquet'", code="staging-format-invalid"
            )
        if not PurePosixPath(self.staging_dir).is_absolute() and not self.staging_dir.startswith("s3://"):
            raise SettingsError(
                f"staging_dir {self.staging_dir!r} is not an absolute path, nor s3://bucket/prefix",
                code="staging-dir-invalid",
            )
        if not _is_within(self.transaction_wait_s, _LONGEST_WAIT_S):
            raise SettingsError(
                f"transaction_wait_s is {self.transaction_wait_s!r}: use seconds, up to a day",
                code="transaction-wait-invalid",
            )

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns of what else is kept of a record, behind the pipeline's own."""
        kept = {**_KEPT, "raw": replace(_KEPT["raw"], type="text")} if self.format.is_text else _KEPT
        return tuple(column for name, column in kept.items() if name in self.keep)

    @property
    def stored(self) -> tuple[Column, ...]:
        """All columns of the rows table but for the engine's own."""
        return (*self.columns, *self.kept)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that are unique together in the table; none without a key."""
        return key_names(self.key)

    @property
    def dead_letter_table(self) -> str:
        """The dead letters' table, in the same schema as the rows."""
        return f"{self.table}_dead_letters"


def table_of(topic: str) -> str:
    """The table that a topic's name makes.

    Raises:
        SettingsError: It makes none.
    """
    table = re.sub("[.-]", "_", topic).lower()
    if not _IDENTIFIER.match(table):
        raise SettingsError(
            f"the topic {topic!r} makes no table's name of at most 48 characters: declare table=",
            code="table-name-missing",
        )
    return table


def _require_identifier(name: object) -> None:
    if not isinstance(name, str) or not _IDENTIFIER.match(name):
        raise SettingsError(
            f"{name!r} is not usable as a table or column name: use a letter, then up to 47 letters, digits and "
            "underscores",
            code="identifier-invalid",
        )


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_within(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
