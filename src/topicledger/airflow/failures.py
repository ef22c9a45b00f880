"""The one mapping of errors to Airflow's retries, and the sentence that each ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from topicledger.errors import Repeat, TopicLedgerError
from topicledger.report.failure import told


@contextmanager
def told_by_airflow(context: Mapping[str, Any], tasks: Mapping[Repeat, str]) -> Iterator[None]:
    """Map errors: what a retry can't mend fails the task at once, the rest uses Airflow's retries.

    Whatever leaves a task is an exception that ends with the next step: its own sentence is what Airflow shows first.

    Args:
        context: What Airflow gives the task.
        tasks: Which other task does what an error may ask to repeat, as far as that is known by then.
    """
    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        if isinstance(error, AirflowException) and not isinstance(error, AirflowTaskTimeout):  # a skip, for instance
            raise
        # A log opens at its end, where causes stand: what an error of ours says is all that it has to say.
        raise _ending(error, context["ti"], tasks) from (None if isinstance(error, TopicLedgerError) else error)


def _ending(error: BaseException, ti: Any, tasks: Mapping[Repeat, str]) -> BaseException:
    timed_out = isinstance(error, AirflowTaskTimeout)
    tries = ti.max_tries + 1
    said = told(error, task_id=ti.task_id, tasks=tasks, try_number=ti.try_number, tries=tries, timed_out=timed_out)
    if timed_out:
        return AirflowTaskTimeout(said)
    if isinstance(error, TopicLedgerError) and not error.retriable:
        return AirflowFailException(said)
    return AirflowException(said)
