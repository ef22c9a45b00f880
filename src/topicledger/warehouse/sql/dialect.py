"""What differs between the SQL dialects: names, types, placeholders, a few functions, the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topicledger.columns import sql_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One warehouse's SQL, where it isn't the others'. But for the default schema nothing here comes from a user.

    Args:
        warehouse: Whose it is.
        default_schema: The schema of a table that is declared without one.
        upper_case: Whether names are stored in upper case, as the warehouse does with those that aren't quoted.
        mark: The placeholder of a bound value.
        temp_schema: The schema that a session's temporary tables live in; empty: the session's own.
        temp_options: What ends CREATE TEMPORARY TABLE.
        keys: Whether tables get PRIMARY KEY and UNIQUE constraints.
        ddl_commits: Whether DDL commits by itself, so that nothing can be created together with something else.
        rescales: Whether a decimal column may get more digits behind the point.
        may_alter: Yields whether this user may alter a table: schema, table; empty: that shows when it is done.
        before_alter: What is said before a table is altered, so that nobody waits long; empty: nothing.
        decode_base64: Turns base64 text into bytes.
        to_json: Turns JSON text into the type `json`.
        from_json: Turns that into text.
        clock: The time now, in microseconds since 1970 when read by `micros`.
        micros: Turns a timestamp into whole microseconds since 1970.
        ignore_repeat: Ends an INSERT that must not fail when the key exists.
        distinct_offsets: Counts the different `s._kafka_offset` of a group of one partition's records; empty: all
            coordinates are told apart in one pass.
        offset_blocks: Further groups that they are counted in, so that none is large.
        share: Whether a key is in one of several equal shares of all keys; empty: they needn't be shared out.
        statistics: Tells the planner about a temporary table that was just filled: its table and columns.
        applied_ranges: Yields the `applied` of a target's ledger rows: topic_id, partition, first, past. The target is
            bound.
        stand_ins_query: What stands in a schema where a table that keeps its rows should: name, what it is.
        columns_query: Columns of all tables of a schema: table, column, type, not null, has a default. A collation by
            which texts that differ are equal is a part of the type.
        unique_query: Usable unique constraints: table, list of columns. Empty: tables get none.
        schema_query: Yields a row when the schema exists.
    """

    warehouse: Literal["postgres", "duckdb", "snowflake"]
    default_schema: str
    upper_case: bool = False
    mark: str
    temp_schema: str = ""
    temp_options: str = ""
    keys: bool
    ddl_commits: bool = False
    rescales: bool = True
    may_alter: str = ""
    before_alter: str = ""
    decode_base64: str
    to_json: str
    from_json: str
    clock: str
    micros: str
    ignore_repeat: str = ""
    distinct_offsets: str = ""
    offset_blocks: str = ""
    share: str = ""
    statistics: str = ""
    applied_ranges: str
    stand_ins_query: str
    columns_query: str
    unique_query: str = ""
    schema_query: str

    def name(self, identifier: str) -> str:
        """A declared name as the warehouse stores it."""
        return identifier.upper() if self.upper_case else identifier

    def quoted(self, identifier: str) -> str:
        """A declared name as the warehouse stores it, quoted."""
        return quoted(self.name(identifier))

    def type_of(self, kind: str) -> str:
        """A column type's name, spelled as the catalogue spells it: a drifted column is told by comparison."""
        return sql_type(kind, self.warehouse)


POSTGRES = Dialect(
    warehouse="postgres",
    default_schema="public",
    mark="%s",
    temp_schema="pg_temp",
    temp_options=" ON COMMIT DROP",
    keys=True,
    may_alter="""
        SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s""",
    # Who waits for a table makes all that come later wait, readers too.
    before_alter="SET LOCAL lock_timeout TO '3s'",
    decode_base64="decode({}, 'base64')",
    to_json="CAST({} AS jsonb)",
    from_json="CAST({} AS text)",
    clock="clock_timestamp()",
    micros="CAST(extract(epoch FROM {}) * 1000000 AS bigint)",
    ignore_repeat=" ON CONFLICT DO NOTHING",
    statistics="ANALYZE {} ({})",
    applied_ranges="""
        SELECT b.topic_id, CAST(e ->> 0 AS integer) AS partition, CAST(e ->> 1 AS bigint) AS first,
               CAST(e ->> 2 AS bigint) AS past
        FROM {batches} b CROSS JOIN LATERAL jsonb_array_elements(b.applied) AS e WHERE b.target = %s""",
    stand_ins_query="""
        SELECT c.relname, CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view'
                                         WHEN 'f' THEN 'a foreign table' ELSE 'an UNLOGGED table' END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s
          AND (c.relkind IN ('v', 'm', 'f') OR c.relkind IN ('r', 'p') AND c.relpersistence = 'u')""",
    columns_query="""
        SELECT c.relname, a.attname,
               format_type(a.atttypid, a.atttypmod) || COALESCE(' COLLATE ' || quote_ident(l.collname), ''),
               a.attnotnull, a.atthasdef OR a.attidentity <> ''
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_collation l ON l.oid = a.attcollation AND NOT l.collisdeterministic
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped""",
    unique_query="""
        SELECT c.relname, array_agg(CAST(a.attname AS text))
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid
         AND a.attnum = ANY ((CAST(i.indkey AS smallint[]))[0:i.indnkeyatts - 1])
        WHERE n.nspname = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
        GROUP BY c.relname, i.indexrelid, i.indnkeyatts HAVING COUNT(*) = i.indnkeyatts""",
    schema_query="SELECT 1 FROM pg_namespace WHERE nspname = %s",
)

DUCKDB = Dialect(
    warehouse="duckdb",
    default_schema="main",
    mark="?",
    temp_schema="temp",
    keys=False,  # a kill while an index is replayed is DuckDB's weak spot; anti-joins do without
    decode_base64="from_base64({})",
    to_json="CAST({} AS JSON)",
    from_json="CAST({} AS VARCHAR)",
    clock="get_current_timestamp()",
    micros="epoch_us({})",
    # A bit for each of 64 offsets: a tenth of the time of COUNT(DISTINCT), and next to no memory.
    distinct_offsets="bit_count(bit_or(CAST(1 AS UBIGINT) << CAST(s._kafka_offset & 63 AS UBIGINT)))",
    offset_blocks=", s._kafka_offset >> 6",
    share="hash({key}) % {shares} = {share}",
    applied_ranges="""
        SELECT topic_id, r[1] AS partition, r[2] AS first, r[3] AS past
        FROM (SELECT topic_id, unnest(CAST(applied AS BIGINT[][])) AS r FROM {batches} WHERE target = ?)""",
    stand_ins_query="""
        SELECT view_name, 'a view' FROM duckdb_views() WHERE database_name = current_database() AND schema_name = ?""",
    # No catalogue has a column's collation but the table's statement.
    columns_query="""
        SELECT c.table_name, c.column_name,
               concat(c.data_type, regexp_extract(
                   t.sql, concat('[(, ]"?', regexp_escape(c.column_name), '"? VARCHAR( COLLATE [^ ,)]+)'), 1)),
               NOT c.is_nullable, c.column_default IS NOT NULL
        FROM duckdb_columns() c JOIN duckdb_tables() t ON t.table_oid = c.table_oid AND t.database_oid = c.database_oid
        WHERE c.database_name = current_database() AND c.schema_name = ?""",
    schema_query=("SELECT 1 FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = ?"),
)

SNOWFLAKE = Dialect(
    warehouse="snowflake",
    default_schema="PUBLIC",
    upper_case=True,
    mark="?",
    keys=False,  # they would be written down and not enforced
    ddl_commits=True,
    rescales=False,
    decode_base64="BASE64_DECODE_BINARY({})",
    to_json="PARSE_JSON({})",
    from_json="TO_JSON({})",
    clock="CAST(CURRENT_TIMESTAMP() AS TIMESTAMP_TZ)",
    micros="DATE_PART(EPOCH_MICROSECOND, {})",
    distinct_offsets="COUNT(DISTINCT s._kafka_offset)",
    applied_ranges="""
        SELECT b.topic_id, CAST(f.value[0] AS NUMBER(38,0)) AS partition, CAST(f.value[1] AS NUMBER(38,0)) AS first,
               CAST(f.value[2] AS NUMBER(38,0)) AS past
        FROM {batches} b, LATERAL FLATTEN(input => b.applied) f WHERE b.target = ?""",
    stand_ins_query="""
        SELECT table_name, 'a ' || LOWER(table_type) FROM information_schema.tables
        WHERE table_schema = ? AND table_type <> 'BASE TABLE'""",
    # Lengths are a column's own there: one that holds less than a VARCHAR or an integer can is told by its type.
    columns_query="""
        SELECT c.table_name, c.column_name,
               CASE WHEN c.data_type = 'NUMBER' THEN 'NUMBER(' || c.numeric_precision || ',' || c.numeric_scale || ')'
                    WHEN c.collation_name NOT IN ('', 'utf8', 'bin') THEN 'VARCHAR COLLATE ' || c.collation_name
                    WHEN c.data_type = 'TEXT' AND c.character_maximum_length >= 16777216 THEN 'VARCHAR'
                    WHEN c.data_type = 'TEXT' THEN 'VARCHAR(' || c.character_maximum_length || ')'
                    ELSE c.data_type END,
               c.is_nullable = 'NO', c.column_default IS NOT NULL
        FROM information_schema.columns c
        JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.table_schema = ? AND t.table_type = 'BASE TABLE'""",
    schema_query="SELECT 1 FROM information_schema.schemata WHERE schema_name = ?",
)


def quoted(identifier: str) -> str:
    """Quote one identifier, so that reserved words and upper case mean themselves."""
    return '"' + identifier.replace('"', '""') + '"'
