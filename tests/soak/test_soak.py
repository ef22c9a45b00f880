"""Random sequences of runs, kills, clears and losses on real parts; after each run every record is where it must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.broker import Broker, running_broker
from devstack.postgres import Postgres
from tests.soak import actions
from tests.soak.actions import FAULTS
from tests.soak.sequence import Bench, chosen, run_sequence
from tests.soak.summary import failed

SEQUENCES = 25


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[Bench]:
    """A bench whose broker may be killed: nobody else uses it."""
    folder = tmp_path_factory.mktemp("soak")
    with running_broker(folder / "broker") as broker:
        yield Bench(broker, postgres_server, folder)


def test_a_sequence_is_its_seeds() -> None:
    """A seed always gives the same actions, eight or more of them, and two or more of those are faults."""
    for seed in range(1_000):
        sequence = chosen(seed)
        assert sequence == chosen(seed)
        assert len(sequence) >= 8
        assert sum(action in FAULTS for action in sequence) >= 2


@pytest.mark.slow
def test_one_sequence(kafka_broker: Broker, postgres_server: Postgres, tmp_path: Path) -> None:
    """A zombie, a cleared run, a kill in the load and a restored backup, one after another, lose and double nothing."""
    sequence = [
        actions.others_produce,
        actions.zombie_attempt,
        actions.back_up,
        actions.kill,
        actions.cut,
        actions.restore,
        actions.capped_run,
        actions.clear_run,
    ]
    outcome = run_sequence(Bench(kafka_broker, postgres_server, tmp_path), 1, sequence)
    assert outcome.failure is None, failed(outcome)
    assert len(outcome.points) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEQUENCES + 1))
def test_sequences(bench: Bench, seed: int) -> None:
    """Whatever happens in a seed's sequence, every record of the topic ends up in the warehouse exactly once."""
    outcome = run_sequence(bench, seed)
    assert outcome.failure is None, failed(outcome)
