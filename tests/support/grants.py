"""The grants that operations.md lists, for one case."""

from __future__ import annotations

from tests.docs.pages import read, spans, table
from tests.support.secure_broker import Grant
from tests.support.steps import Case


def documented_grants(case: Case) -> list[Grant]:
    """Give the documented grants with this case's names in them."""
    names = {"<topic>": case.topic, "<DAG id>": case.pipeline.name}
    found = []
    for row in table(read("docs/operations.md"), "Grants"):
        resource, name, pattern, operation = (spans(cell)[0] for cell in row[:4])
        found.append(Grant(resource, names[name], operation, pattern))
    return found
