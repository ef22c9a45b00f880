"""What `topicledger check` looks at beside the warehouse: staging, topic, grants, retention, losses. Nothing stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from topicledger.cli.findings import Finding, one_line
from topicledger.connection import Connection
from topicledger.errors import TopicLedgerError
from topicledger.kafka.grants import missing_grants
from topicledger.kafka.settings import KafkaSettings
from topicledger.kafka.topic import TopicObserver
from topicledger.model.plan import Position
from topicledger.model.planning import TopicState
from topicledger.pipeline import Pipeline
from topicledger.report.display import duration, number
from topicledger.report.preview import preview
from topicledger.retries import with_retries
from topicledger.staged_files.choice import open_root


def check_staging(staging_dir: str, connection: Connection | None) -> list[Finding]:
    """Could a run stage there: does the place exist, may this user write, is there room?

    Args:
        staging_dir: The staging root, as the pipeline declares it.
        connection: Who asks S3, where the root is in S3.
    """
    try:
        root = open_root(staging_dir, connection)
        found = root.access()
    except TopicLedgerError as error:
        return [Finding("problem", one_line(error))]
    free = f"{number(found.free_bytes)} bytes are free in {found.disk}"
    ok = Finding("ok", f"staging: {root.location} {found.allowed}; {free}")
    return [ok, Finding("note", f"staging: {found.note}")] if found.note else [ok]


def check_topic(
    settings: KafkaSettings,
    pipeline: Pipeline,
    known: Sequence[Position] | None,
    *,
    produces: bool,
    pause: dt.timedelta | None,
) -> tuple[list[Finding], TopicState | None]:
    """Is the broker reachable, is the topic there, may this user read it, is anything lost, does it keep long enough?

    Args:
        settings: The connection.
        pipeline: The pipeline.
        known: The ledger's positions of the topic; None when they aren't known, and then nothing is said about losses.
        produces: Whether a run produces, too.
        pause: The longest time between two runs, or None when it isn't known.

    Returns:
        What was found, and the topic, where this user may read it.
    """
    topic = pipeline.topic
    try:
        with TopicObserver(settings, topic) as observer:
            state = with_retries(f"describing {topic}", observer.state)
            findings = [Finding("ok", f"{settings.conn_id}: topic {topic} with {len(state.partitions)} partitions")]
            lacking = list(_grants(settings, pipeline, produces=produces))
            findings += lacking
            findings += _retention(observer, topic, pause)
            short = with_retries("looking at the replicas", observer.too_few_in_sync) if produces else None
    except TopicLedgerError as error:
        return [Finding("problem", one_line(error))], None
    if short:
        findings.append(Finding("problem", f"topic {topic}: {short}: bring its brokers back before a run produces"))
    findings += [*_hidden(state), *(_losses(state, known, pipeline) if known is not None else ())]
    return findings, None if lacking else state


def _grants(settings: KafkaSettings, pipeline: Pipeline, *, produces: bool) -> Iterator[Finding]:
    lacking = with_retries(
        "asking the broker for grants", lambda: missing_grants(settings, pipeline.topic, pipeline.name, write=produces)
    )
    for problem in lacking:
        yield Finding("problem", f"{settings.conn_id}: {problem}")


def _losses(state: TopicState, known: Sequence[Position], pipeline: Pipeline) -> Iterator[Finding]:
    try:
        planned = preview(state, known, pipeline, pipeline.table)
    except TopicLedgerError as error:
        yield Finding("problem", one_line(error))
        return
    offsets = sum(r.end - r.start for r in planned.ranges)
    yield Finding("ok", f"nothing is lost between ledger and topic; {number(offsets)} offsets to read")


def _hidden(state: TopicState) -> Iterator[Finding]:
    for marks in state.partitions:
        if marks.high > marks.last_stable:
            yield Finding(
                "note",
                f"partition {marks.partition}: {number(marks.high - marks.last_stable)} offsets lie behind an open "
                "transaction; a run waits for it, then fails and is tried again",
            )


def _retention(observer: TopicObserver, topic: str, pause: dt.timedelta | None) -> Iterator[Finding]:
    """How long the topic keeps a record, against the longest time until a run comes for it."""
    names = ("cleanup.policy", "retention.ms", "retention.bytes")
    policy, kept_ms, most_bytes = with_retries("asking for retention", lambda: [observer.setting(n) for n in names])
    if policy is None or kept_ms is None:
        yield Finding(
            "note",
            f"topic {topic}: how long it keeps records isn't known to this user: grant DESCRIBE_CONFIGS on it",
        )
        return
    if "delete" not in policy or int(kept_ms) < 0:
        yield Finding("ok", f"topic {topic} keeps records without a limit of time")
    else:
        yield _kept(topic, dt.timedelta(milliseconds=min(int(kept_ms), _LONGEST_MS)), pause)
    kept_bytes = int(most_bytes or -1)
    if "delete" in policy and kept_bytes >= 0:
        yield Finding(
            "note",
            f"topic {topic} keeps no more than {number(kept_bytes)} bytes of a partition (retention.bytes), however "
            "new: see that no pause between two runs brings more",
        )


_LONGEST_MS = 100 * 366 * 24 * 60 * 60 * 1000


def _kept(topic: str, kept: dt.timedelta, pause: dt.timedelta | None) -> Finding:
    said = f"topic {topic} keeps records for {duration(kept)}"
    if pause is None:
        return Finding("note", f"{said}; how often runs come isn't known here: name a DAG with a schedule")
    if kept > pause:
        return Finding("ok", f"{said}; at most {duration(pause)} between two runs")
    return Finding(
        "problem",
        f"{said} (retention.ms), and up to {duration(pause)} lie between two runs: what goes in between is lost "
        "before it is read. Raise retention.ms, so that it outlasts some failed runs too, or run more often",
    )
