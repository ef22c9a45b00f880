"""README.md is a page: what it is, the two commands, four steps, an own topic, and links to the rest."""

from __future__ import annotations

from tests.docs.pages import ROOT, fences, read

README = read("README.md")


def test_it_is_short() -> None:
    """What needs more room is on a page of docs/."""
    assert len(README.splitlines()) <= 150


def test_the_own_topic_is_the_example() -> None:
    """The DAG file that it shows is docs/examples/payments_dag.py, whole, which a scheduler runs."""
    shown = [code for language, code in fences(README) if language == "python"]
    assert shown == [read("docs/examples/payments_dag.py")]


def test_the_picture_is_there_and_small() -> None:
    """The report's picture is a PNG of less than 150 kB."""
    picture = (ROOT / "docs" / "images" / "report.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000
    assert "](docs/images/report.png)" in README
