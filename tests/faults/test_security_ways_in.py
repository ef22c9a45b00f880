"""Right credentials, by each way to prove who one is: a whole run over TLS, with no grant more than is documented."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from tests.support.grants import documented_grants
from tests.support.records import good, sign_ups
from tests.support.secure_broker import Login, SecureBroker
from tests.support.steps import Case, OneRun, run_steps
from tests.support.topics import wait_for
from topicledger import signups

pytestmark = pytest.mark.slow
"""All need the broker with TLS."""

WAYS = ("password", "token", "certificate")


def login(broker: SecureBroker, way: str) -> Login:
    made = getattr(broker, f"{way}_login")()
    assert isinstance(made, Login)
    return made


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_run_with_the_documented_grants(secure_broker: SecureBroker, secure_case: Case, way: str) -> None:
    """Producing, reading, loading and showing the lag work by that way in, with the documented grants alone."""
    user, extra = login(secure_broker, way)
    secure_broker.allow(user, documented_grants(secure_case))
    case = secure_case.with_extra(extra)
    case.send(sign_ups(range(100, 120), 2))
    run = run_steps(case, records=[(str(n).encode(), good(n)) for n in range(50)])
    assert (run.accounts.loaded, run.accounts.acked_seen) == (70, 50)
    assert case.topics.committed(case.pipeline.name, case.topic) == case.topics.ends(case.topic)
    case.oracle().require_every_record_once()


def test_a_token_that_runs_out_is_renewed(secure_broker: SecureBroker, secure_duckdb_case: Case) -> None:
    """A token that runs out while a batch is produced, and again while it is read, is renewed: the run goes on."""
    lifetime_s = 8
    user, extra = secure_broker.token_login(lifetime_s)
    secure_broker.allow(user, documented_grants(secure_duckdb_case))
    issued = secure_broker.endpoint.issued

    def wait_past_a_token() -> None:
        until, before = time.time() + 1.5 * lifetime_s, issued[user]
        wait_for("a renewed token", lambda: True if time.time() > until and issued[user] > before else None)

    def records() -> Iterator[tuple[bytes, bytes]]:
        for number in range(6_000):
            if number == 3_000:
                wait_past_a_token()
            yield str(number).encode(), good(number)

    first_read: list[int] = []

    def slow_clean(columns: Mapping[str, pa.Array[Any]]) -> Mapping[str, pa.Array[Any]]:
        count = len(columns["event_id"])
        if count and not first_read:
            first_read.append(count)
            wait_past_a_token()
        return signups.clean(columns)

    # The client holds so little in advance that most of the topic is read after the first token has run out.
    small = {"queued.min.messages": 1, "fetch.message.max.bytes": 20_000, "linger.ms": 0, "batch.num.messages": 50}
    case = secure_duckdb_case.with_extra({**extra, **small})
    case = dataclasses.replace(case, pipeline=dataclasses.replace(case.pipeline, clean=slow_clean))
    run = OneRun(case)
    run.produce(records())
    accounts = run.finish()
    assert (accounts.loaded, accounts.acked_seen) == (6_000, 6_000)
    assert first_read[0] < 6_000
    case.oracle().require_every_record_once()
