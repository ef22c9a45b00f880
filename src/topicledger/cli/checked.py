"""All that a check tells of one pipeline: findings, its columns, and what would become of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from topicledger.cli.checks import check_staging, check_topic
from topicledger.cli.connections import kafka_settings, registry_connection, staging_connection, warehouse_connection
from topicledger.cli.declared import Declared
from topicledger.cli.findings import Finding, one_line
from topicledger.cli.proof import Proof, columns_table, findings_of, prove, source_of
from topicledger.cli.warehouse_checks import check_warehouse
from topicledger.errors import TopicLedgerError
from topicledger.events.judge import Judge
from topicledger.kafka.registry import registry_schemas
from topicledger.model.plan import Position
from topicledger.warehouse.choice import open_warehouse


@dataclass(slots=True)
class Checked:
    """What was found.

    Args:
        declared: The pipeline.
        findings: A line each.
        spelled: Its columns as the warehouse spells names and types; as they are declared where there is none.
        proof: What would become of the topic's newest records; None where they weren't read.
    """

    declared: Declared
    findings: list[Finding] = field(default_factory=list)
    spelled: Sequence[tuple[str, str]] = ()
    proof: Proof | None = None

    def problem(self, error: TopicLedgerError) -> None:
        """Note what would stop a run."""
        self.findings.append(Finding("problem", one_line(error)))

    @property
    def table(self) -> str:
        """The columns and some rows, for people."""
        return columns_table(self.declared.pipeline, self.spelled, self.proof)

    @property
    def document(self) -> dict[str, Any]:
        """All of it, for programs; what JSON has no type for is text."""
        pipeline = self.declared.pipeline
        columns = [
            {"name": name, "type": kind, "nullable": column.nullable, "from": source_of(pipeline, column)}
            for column, (name, kind) in zip(pipeline.stored, self.spelled, strict=False)
        ]
        sample = asdict(self.proof) if self.proof else None
        return {"findings": [asdict(one) for one in self.findings], "columns": columns, "sample": sample}


def check(one: Declared) -> Checked:
    """Look at declaration, warehouse, staging and topic, and judge a sample. Nothing stays anywhere."""
    pipeline = one.pipeline
    said = Checked(one, [Finding("ok", f"topic {pipeline.topic} into {pipeline.table}, as in {one.where}")])
    said.spelled = [(column.name, column.type) for column in pipeline.stored]
    judge = _judge(one, said)
    known = None
    try:
        settings = warehouse_connection(one.ledger)
        said.spelled = open_warehouse(settings, pipeline).spelled_columns()
        found, known = check_warehouse(settings, pipeline)
        said.findings += found
    except TopicLedgerError as error:
        said.problem(error)
    try:
        said.findings += check_staging(pipeline.staging_dir, staging_connection(one.ledger))
    except TopicLedgerError as error:
        said.problem(error)
    _check_topic(one, said, judge, known)
    return said


def _judge(one: Declared, said: Checked) -> Judge | None:
    """Whether event type, checks, clean-up and columns fit together, as a run would find before it reads."""
    try:
        return Judge(one.pipeline, registry_schemas(registry_connection(one.ledger)))
    except TopicLedgerError as error:
        said.problem(error)
        return None


def _check_topic(one: Declared, said: Checked, judge: Judge | None, known: Sequence[Position] | None) -> None:
    try:
        kafka = kafka_settings(one.ledger)
        found, state = check_topic(kafka, one.pipeline, known, produces=one.ledger.produces, pause=one.pause)
        said.findings += found
        if judge is not None and state is not None:
            said.proof = prove(judge, kafka, state)
            said.findings += findings_of(said.proof, one.pipeline)
    except TopicLedgerError as error:
        said.problem(error)
