"""What every step is given: one run of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from topicledger.connection import Connection
from topicledger.kafka.settings import KafkaSettings
from topicledger.pipeline import Pipeline
from topicledger.staged_files.root import StagingRoot
from topicledger.warehouse.contract import Warehouse


class Run(Protocol):
    """One run: its names, what is declared, what a person accepted, and the ways to its places.

    A place is looked up when a step first asks for it, and a step asks for no other: a load has no need of Kafka.
    """

    @property
    def pipeline(self) -> Pipeline:
        """The declaration."""

    @property
    def batch_id(self) -> str:
        """The run's name in the books: `topicledger.model.identity.batch_id`."""

    @property
    def run_id(self) -> str:
        """Airflow's run id, for people."""

    @property
    def accept(self) -> Sequence[str]:
        """Losses that a person accepts, as the errors printed them."""

    @property
    def kafka(self) -> KafkaSettings:
        """The Kafka connection.

        Raises:
            SettingsError: It is missing, or a key in it can't work.
        """

    @property
    def registry(self) -> Connection | None:
        """The schema registry's connection; None where the pipeline's format asks none.

        Raises:
            SettingsError: It is missing, or unreadable.
        """

    @property
    def staging(self) -> StagingRoot:
        """Where tasks hand staged files on.

        Raises:
            SettingsError: It needs a connection, which is missing or can't work.
        """

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """Open the warehouse for a block.

        Raises:
            SettingsError: Its connection is missing, or a field in it can't work.
        """


def group_id(run: Run) -> str:
    """The run's own consumer group, unique to it."""
    return f"{run.pipeline.name}.{run.batch_id}"
