"""The declaration, proven as far as it can be without a run."""

from __future__ import annotations

from topicledger.cli.findings import Finding, one_line
from topicledger.errors import TopicLedgerError
from topicledger.events.judge import Judge
from topicledger.pipeline import Pipeline


def check_declaration(pipeline: Pipeline) -> list[Finding]:
    """Do event type, checks, clean-up and columns fit together, as a run would find before it reads?"""
    try:
        Judge(pipeline)
    except TopicLedgerError as error:
        return [Finding("problem", one_line(error))]
    return []
