"""Reads the documents as a person's eye does: sections, tables, code spans, code blocks, headings."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = tuple(
    sorted(
        [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
        + list((ROOT / "docs").rglob("*.md"))
    )
)

_FENCE = re.compile(r"^([ ]*)```(\w*)\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def read(name: str) -> str:
    """Give the text of a document, named from the project's folder."""
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str) -> list[tuple[str, str]]:
    """Give (language, code) of every code block."""
    return [(language, textwrap.dedent(code)) for _, language, code in _FENCE.findall(text)]


def prose(text: str) -> str:
    """Give the text without its code blocks."""
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """Give the content of every code span."""
    return [content for _, content in _SPAN.findall(text)]


def headings(text: str) -> list[tuple[int, str]]:
    """Give (level, title) of every heading."""
    return [(len(marks), title.strip()) for marks, title in _HEADING.findall(prose(text))]


def section(text: str, title: str) -> str:
    """Give what stands under a heading, up to the next one of its level or above."""
    text = prose(text)
    found = next(match for match in _HEADING.finditer(text) if match[2].strip() == title)
    end = next(
        (later.start() for later in _HEADING.finditer(text, found.end()) if len(later[1]) <= len(found[1])), len(text)
    )
    return text[found.end() : end]


def tables(text: str) -> list[list[list[str]]]:
    """Give every table as rows of cells, the head first, the line below it left out."""
    found: list[list[list[str]]] = []
    inside = False
    for line in map(str.strip, prose(text).splitlines()):
        if not line.startswith("|"):
            inside = False
            continue
        if not inside:
            found.append([])
        inside = True
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if any(set(cell) - set("-: ") for cell in cells):
            found[-1].append(cells)
    return found


def table(text: str, title: str, number: int = 0) -> list[list[str]]:
    """Give the body of a table under a heading."""
    return tables(section(text, title))[number][1:]


def first_spans(rows: list[list[str]]) -> list[str]:
    """Give the first code span of each row's first cell."""
    return [spans(row[0])[0] for row in rows]


def parsed(name: str) -> ast.Module:
    """Parse a Python file, named from the project's folder."""
    return ast.parse(read(name))


def sources() -> list[str]:
    """Give every Python file of dags/ and src/, named from the project's folder."""
    found = [*(ROOT / "dags").glob("*.py"), *(ROOT / "src").rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)
