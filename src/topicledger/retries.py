"""Trying again, for a bounded time, what may pass: a broker that restarts, a warehouse that is busy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import tenacity

from topicledger.errors import RetriableError

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""How long a question to broker or warehouse is asked again, in a task as in the command, so that what the command
calls a problem is one to a run. It outlasts a broker's restart; a wrong address is still said within a minute."""

_Result = TypeVar("_Result")


def with_retries(doing: str, call: Callable[[], _Result], *, at_least: int = 1) -> _Result:
    """Call, and call again while it fails with what may pass, for up to `RETRY_S` seconds.

    Args:
        doing: What is being done, for the log.
        call: What to call; a repeat must be harmless.
        at_least: How often it is called before it is given up, however long that takes.

    Raises:
        RetriableError: It still failed in the end.
        TopicLedgerError: It failed with what doesn't pass; at once.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(RetriableError),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_all(tenacity.stop_after_delay(RETRY_S), tenacity.stop_after_attempt(at_least)),
        before_sleep=lambda state: log.warning(
            "%s: %s; trying again, for up to %.0f s in all", doing, state.outcome and state.outcome.exception(), RETRY_S
        ),
        reraise=True,
    )
    return attempts(call)
