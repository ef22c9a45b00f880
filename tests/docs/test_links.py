"""Every link leads somewhere, and nothing in the tree names a place that only one machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import DOCUMENTS, ROOT, headings, prose

OUTSIDE = ("https://keepachangelog.com/", "https://semver.org/")

# Put together here, so that this file doesn't hold what it looks for.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "maven" + ".org", "maven.apache" + ".org", "docker" + ".io"]
HOSTS += ["ghcr" + ".io", "npmjs" + ".org", "artifact" + "ory", "arti" + "facts."]
PLACES = [r"(?<![\w.])/" + r"work/", r"(?<![\w.])/" + r"root/", "/tmp/" + "probe", r"\.\./" + "shared"]


def anchors(path: Path) -> set[str]:
    """Give the anchors of a document: of its headings, as they are made from the titles, and those that are written."""
    text = path.read_text()
    titles = (title.lower() for _, title in headings(text))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles} | {
        *re.findall(r'<a id="(.+?)">', text)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    """A link's file exists and has the heading."""
    for target in re.findall(r"\]\(([^)]+)\)", prose(document.read_text())):
        if target.startswith("http"):
            assert target.startswith(OUTSIDE), target
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_decision_is_in_the_index() -> None:
    """The list of decisions has each record, by its number and title."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for record in folder.glob("0*.md"):
        (title,) = [title for level, title in headings(record.read_text()) if level == 1]
        assert f"[{title}]({record.name})" in index
        assert title.startswith(record.name[:4])


def tracked() -> list[Path]:
    """Give the files that git tracks, or all that aren't hidden where there is no git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts)]


def test_nothing_names_a_registry_or_a_place_of_one_machine() -> None:
    """No tracked file holds a package registry's host, or a path of the machine that it was written on."""
    wanted = re.compile("|".join([*map(re.escape, HOSTS), *PLACES]))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (match := wanted.search(line))
    ]
    assert found == []
