"""The simulated source: the same run gives the same bytes, which is what makes a producer's retry harmless."""

from __future__ import annotations

import datetime as dt

import msgspec

from topicledger.signups import SignUp
from topicledger.simulation import simulate

AT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def records(run_key: str = "run", seed: int = 0, malformed: float = 0.0) -> list[tuple[bytes, bytes]]:
    return list(simulate(200, malformed=malformed, seed=seed, run_key=run_key, at=AT))


def test_the_same_run_simulates_the_same_bytes() -> None:
    """However often a run is asked, it gives the same records; another run or seed gives other events."""
    assert records(malformed=0.1) == records(malformed=0.1)
    events = [{msgspec.json.decode(value, type=SignUp).event_id for _, value in found} for found in (
        records(), records("other"), records(seed=1)
    )]  # fmt: skip
    assert [len(found) for found in events] == [200, 200, 200]
    assert len(set.union(*events)) == 600


def test_sign_ups_lie_in_the_day_before_the_run() -> None:
    """The events' times follow from the run's, not from the clock."""
    times = [msgspec.json.decode(value, type=SignUp).signed_up_at for _, value in records()]
    assert AT - dt.timedelta(days=1) <= min(times) <= max(times) < AT


def test_so_many_are_malformed() -> None:
    """Exactly the asked-for share of the records can't be decoded."""
    broken = 0
    for _, value in records(malformed=0.25):
        try:
            msgspec.json.decode(value, type=SignUp)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            broken += 1
    assert broken == 50
