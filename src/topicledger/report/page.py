"""The page of a run's books, from its template: self-contained, no script, nothing loaded from anywhere."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from topicledger import __version__
from topicledger.model.ledger import ReconciledBooks
from topicledger.report.display import number, printable
from topicledger.report.text import FATES, MEANINGS, headline, next_steps, outcome, summary


def page(books: ReconciledBooks, json_name: str) -> str:
    """Make the whole page. Whatever text the books hold, it is shown and means nothing to a browser.

    Args:
        books: The batch's books, closed or not.
        json_name: The JSON document's file name, beside the page.

    Returns:
        An HTML document, encodable as UTF-8.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    # By importlib: the engine may have been imported from a zip.
    template = resources.files("topicledger.report").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(template).render(
        row=books.row,
        accounts=books.accounts,
        applied_in={applied.partition: applied for applied in books.row.applied},
        positions=books.positions,
        identities=books.identities,
        outcome=outcome(books),
        headline=headline(books),
        summary=summary(books),
        next_steps=next_steps(books),
        meanings=MEANINGS,
        fates=FATES,
        json_name=json_name,
        version=__version__,
    )


def _shown(value: Any) -> Any:
    """How the template shows a value, before it is escaped."""
    if value is None or isinstance(value, int):
        return number(value)
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return printable(value) if isinstance(value, str) else value
