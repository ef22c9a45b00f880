"""The protocol's numbers are the same in the document and in the code."""

from __future__ import annotations

import re

from tests.docs.pages import read, section

GUARANTEE = section(read("docs/delivery-guarantee.md"), "The protocol")


def commented(name: str) -> set[int]:
    """Give the step numbers in a file's comments, such as `# 13: ...` or `# 8, 9 and 11`."""
    found: set[int] = set()
    for numbers in re.findall(r"^\s*# (\d[\d, and]*)(?::.*)?$", read(name), re.MULTILINE):
        found |= {int(number) for number in re.findall(r"\d+", numbers)}
    return found


def test_steps_come_in_order() -> None:
    """delivery-guarantee.md has the steps 1 to 21, each once, in order."""
    assert [int(number) for number in re.findall(r"^(\d+)\. ", GUARANTEE, re.MULTILINE)] == list(range(1, 22))


def test_the_codes_comments_carry_the_steps() -> None:
    """The files that run the protocol carry every number that the document says they do."""
    steps = [commented(f"src/topicledger/steps/{name}.py") for name in ("produce", "plan", "consume")]
    assert set().union(*steps) == set(range(1, 13))
    assert commented("src/topicledger/steps/load.py") == set(range(13, 20))
    assert '"""Step 20' in read("src/topicledger/steps/reconcile.py")
    assert '"""Steps 3 to 7' in read("src/topicledger/model/planning.py")
    assert '"""Steps 8 and 9' in read("src/topicledger/kafka/reader.py")
    assert '"""Step 10' in read("src/topicledger/kafka/jumps.py")


def test_numbers_of_the_protocol_are_the_codes() -> None:
    """Limits that the steps name are the constants of the code."""
    assert "CHECKED_JUMPS = 1_000" in read("src/topicledger/model/slices.py")
    assert "up to 1,000" in GUARANTEE
    assert "idle_s: float = 60.0" in read("src/topicledger/kafka/reader.py")
    assert "No progress for 60 s" in GUARANTEE
    settings = read("src/topicledger/kafka/settings.py")
    for key, value in re.findall(r"`([a-z.]+)=([a-z_]+)`", GUARANTEE):
        written = value.capitalize() if value in {"true", "false"} else f'"{value}"'
        assert key == "acks" or f'"{key}": {written}' in settings, key
