"""What `topicledger check` looks at in a warehouse: grants, tables, the ledger. Nothing stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from topicledger.cli.findings import Finding, one_line
from topicledger.connection import Connection
from topicledger.errors import SettingsError, TopicLedgerError
from topicledger.model.acceptance import Accepted
from topicledger.model.ledger import Loaded
from topicledger.model.plan import Position
from topicledger.model.planning import check_target
from topicledger.pipeline import Pipeline
from topicledger.retries import with_retries
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Compared, Warehouse


def require_ledger(settings: Connection, pipeline: Pipeline) -> None:
    """Do nothing when there is a ledger to look at, whatever else a run would stumble over.

    Raises:
        SettingsError: Nothing was created yet.
        RetriableError: The warehouse isn't reachable.
    """
    # Whoever creates them: what is asked is whether they are there.
    warehouse = open_warehouse(settings, replace(pipeline, create_tables=True))
    try:
        there = compared(warehouse).there
    except TopicLedgerError as error:
        if error.retriable:
            raise
        there = True
    if not there:
        raise SettingsError(
            f"connection {settings.conn_id} has no ledger of {warehouse.target}; the first run creates it. When there "
            "have been runs, correct the connection, or name the DAG that has run",
            code="ledger-missing",
        )


def known_positions(settings: Connection, pipeline: Pipeline) -> list[Position]:
    """The ledger's positions of the pipeline's topic; none before the first run.

    Raises:
        TopicLedgerError: What would stop a run.
    """
    warehouse = open_warehouse(settings, pipeline)
    compared(warehouse)
    known = _positions(warehouse, pipeline)
    if not known:
        check_target(pipeline.name, pipeline.topic, warehouse.target, _others(warehouse, pipeline), Accepted())
    return known


def compared(warehouse: Warehouse) -> Compared:
    """What a run would create and alter.

    Raises:
        TopicLedgerError: What would stop it.
    """
    return with_retries("comparing the tables", warehouse.compare_tables)


def _positions(warehouse: Warehouse, pipeline: Pipeline) -> list[Position]:
    return list(with_retries("reading the ledger", lambda: warehouse.positions(pipeline.topic)))


def _others(warehouse: Warehouse, pipeline: Pipeline) -> Sequence[Loaded]:
    return with_retries("reading the ledger", lambda: warehouse.other_targets(pipeline.topic))


def _elsewhere(conn_id: str, warehouse: Warehouse, pipeline: Pipeline) -> Iterator[Finding]:
    """Where books would begin: what of the topic is loaded already, into another table."""
    others = _others(warehouse, pipeline)
    try:
        check_target(pipeline.name, pipeline.topic, warehouse.target, others, Accepted())
    except TopicLedgerError as error:
        yield Finding("problem", one_line(error))
    for other in others:
        if other.pipeline != pipeline.name:
            said = f"topic {pipeline.topic} is loaded into {other.target}, too, by pipeline {other.pipeline}"
            yield Finding("note", f"{conn_id}: {said}: this one, {pipeline.name}, loads all of it by itself")


def needed_ddl(settings: Connection, pipeline: Pipeline) -> str:
    """The statements that create the tables; where they are there and not as declared, those that alter them."""
    warehouse = open_warehouse(settings, replace(pipeline, create_tables=True))
    try:
        altering = "".join(f"{statement};\n" for statement in warehouse.compare_tables().alterations)
    except TopicLedgerError as error:
        # What this user may not do stands behind the sentence that says so; without an answer all is printed.
        altering = error.message.partition("\n")[2]
    return altering or warehouse.ddl()


def check_warehouse(settings: Connection, pipeline: Pipeline) -> tuple[list[Finding], list[Position] | None]:
    """Is it reachable, may this user load there, are the tables as declared, does the ledger add up?

    Returns:
        What was found, and the ledger's positions of the topic; None when it could not be read.
    """
    conn_id, findings = settings.conn_id, []
    try:
        warehouse = open_warehouse(settings, pipeline)
        access = with_retries("asking the warehouse for grants", warehouse.access)
        findings += [Finding("problem", f"{conn_id}: {problem}") for problem in access.problems]
        found = compared(warehouse)
        if not found.there:
            findings += [Finding("note", f"{conn_id}: {note}") for note in access.notes]
            known = _left_over(warehouse, pipeline)
            findings += [] if known else _elsewhere(conn_id, warehouse, pipeline)
            if known:
                findings.append(_table_gone(conn_id, warehouse.target))
            first = not known and not access.problems
            said = "reachable; the first run creates the tables" if first else "reachable"
            return [Finding("ok", f"{conn_id}: {said}"), *findings], known
        known, audit = _positions(warehouse, pipeline), with_retries("auditing the ledger", warehouse.audit)
        findings += [] if known else _elsewhere(conn_id, warehouse, pipeline)
    except TopicLedgerError as error:
        # A refusal that follows from a missing grant has been told, with the statement that gives it.
        told = findings and isinstance(error, SettingsError)
        return findings if told else [*findings, Finding("problem", one_line(error))], None
    findings += [Finding("note", f"{conn_id}: a run changes {warehouse.target}: {s}") for s in found.alterations]
    findings += [Finding("note", f"{conn_id}: {note}") for note in audit.notes]
    findings += [Finding("problem", f"{conn_id}: {problem}") for problem in audit.problems]
    return [Finding("ok", f"{conn_id}: reachable, tables as expected"), *findings], known


def _left_over(warehouse: Warehouse, pipeline: Pipeline) -> list[Position]:
    """The positions of a ledger of which a table is missing; none where nothing was created yet."""
    try:
        return _positions(warehouse, pipeline)
    except TopicLedgerError as error:
        if error.retriable:
            raise
        return []


def _table_gone(conn_id: str, target: str) -> Finding:
    return Finding(
        "problem",
        f"{conn_id}: the ledger has positions of {target}, and a table of it is gone: restore all of them from one "
        "moment, else a run creates it empty and goes on behind what was in it",
    )
