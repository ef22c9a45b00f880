"""The page of a batch: self-contained, no script, nothing loaded from anywhere, everything escaped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from topicledger import __version__
from topicledger.model.accounts import Accounts, Identity
from topicledger.model.ledger import LedgerRow, ReconciledBooks
from topicledger.model.manifest import Manifest
from topicledger.report.display import NOTHING, number
from topicledger.report.markup import EMPTY, Markup, element, joined
from topicledger.report.ranges import RangeLine, range_lines
from topicledger.report.style import STYLE
from topicledger.report.text import FATES, MEANINGS, headline, next_steps, summary

# The page comes from a worker's disk and may be opened anywhere: nothing in it may load or run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(books: ReconciledBooks, json_name: str) -> str:
    """Make the whole page.

    Args:
        books: The batch's books, closed or not.
        json_name: The JSON document's file name, beside the page.

    Returns:
        An HTML document, encodable as UTF-8.
    """
    row = books.row
    sections = (
        _headline(books),
        _next_steps(books),
        _facts(row),
        _accounts(books.accounts),
        _reasons(row),
        _ranges(range_lines(row, books.partitions)),
        _identities(books.identities),
        _receipt(row),
        _accepted(row),
        _footer(json_name),
    )
    body = element("body", element("main", *sections))
    document = element("html", _head(f"{headline(books)}: {row.pipeline}, {row.run_id}"), body, lang="en")
    return f"<!doctype html>\n{document}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", title),
        element("style", Markup(STYLE)),
    )


def _headline(books: ReconciledBooks) -> Markup:
    return element(
        "header",
        element("h1", headline(books)),
        element("p", f"{summary(books)}."),
        _bar(books.accounts),
        class_=f"verdict {'broken' if books.broken else 'closed'}",
    )


def _bar(accounts: Accounts) -> Markup:
    shares = [(name, getattr(accounts, name)) for name in FATES if getattr(accounts, name)]
    if not shares:
        return EMPTY
    parts = (
        element("span", class_=name, style=f"flex-grow: {count}", title=f"{name} {number(count)}")
        for name, count in shares
    )
    return element("div", *parts, class_="bar", aria_hidden="true")


def _next_steps(books: ReconciledBooks) -> Markup:
    if not books.broken:
        return EMPTY
    return _section("What to do", element("ol", *(element("li", step) for step in next_steps(books))))


def _facts(row: LedgerRow) -> Markup:
    facts = (
        ("Run", row.run_id),
        ("Pipeline", row.pipeline),
        ("Topic", row.topic),
        ("Topic id", row.topic_id),
        ("Target", row.target),
        ("Batch", row.batch_id),
        ("Plan", row.plan_id),
        ("Committed", _when(row.loaded_at)),
        ("Manifest sha256", row.sha256 or NOTHING),
    )
    pairs = (joined(element("dt", name), element("dd", value, class_="id")) for name, value in facts)
    return _section("Batch", element("dl", *pairs))


def _when(moment: dt.datetime | None) -> str:
    if moment is None:
        return NOTHING
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _accounts(accounts: Accounts) -> Markup:
    rows = [element("tr", element("th", "Account"), element("th", "Count", class_="n"), element("th", ""))]
    for name, meaning in MEANINGS.items():
        value = getattr(accounts, name)
        swatch = element("span", class_=f"swatch {name}") if name in FATES and value else EMPTY
        rows.append(
            element(
                "tr",
                element("td", swatch, element("code", name)),
                element("td", number(value), class_="n" if value else "n zero"),
                element("td", meaning, class_="meaning"),
            )
        )
    return _section("Accounts", element("table", *rows, class_="accounts"))


def _reasons(row: LedgerRow) -> Markup:
    reasons = row.manifest.reasons if isinstance(row.manifest, Manifest) else {}
    if not reasons:
        return EMPTY
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = (
        element("tr", element("td", element("code", reason)), element("td", number(count), class_="n"))
        for reason, count in ordered
    )
    return _section("Dead letters by reason", element("table", *rows, class_="reasons"))


def _ranges(lines: Sequence[RangeLine]) -> Markup:
    if not lines:
        return EMPTY
    hint = element("p", "Offsets, half-open: the end is the first one that is not included.", class_="hint")
    return _section("Ranges", hint, _offsets(("Partition", "Start", "End", "Applied", "Position"), lines))


def _offsets(names: Sequence[str], lines: Iterable[Sequence[str]]) -> Markup:
    head = element("tr", *(element("th", name, class_="n") for name in names))
    rows = (element("tr", *(element("td", cell, class_="n") for cell in line)) for line in lines)
    return element("div", element("table", head, *rows, class_="ranges"), class_="scroll")


def _identities(identities: Sequence[Identity]) -> Markup:
    if not identities:
        return EMPTY
    items = (
        element(
            "li",
            element("span", "ok" if i.holds else "BROKEN", class_="mark ok" if i.holds else "mark no"),
            element("b", i.name),
            element("span", i.text),
        )
        for i in sorted(identities, key=lambda i: i.holds)
    )
    return _section("Identities", element("ul", *items, class_="identities"))


def _receipt(row: LedgerRow) -> Markup:
    receipt = row.receipt
    if receipt is None:
        return _section("Receipt", element("p", "None: this run only loads what others produced."))
    hint = (
        f"{number(receipt.acked)} records acknowledged, attempt {receipt.attempt}. "
        "High watermarks before and after producing."
    )
    lines = ((str(r.partition), number(r.start), number(r.end)) for r in receipt.ranges)
    return _section("Receipt", element("p", hint, class_="hint"), _offsets(("Partition", "Start", "End"), lines))


def _accepted(row: LedgerRow) -> Markup:
    if not row.manifest.accepted:
        return EMPTY
    items = (element("li", element("code", loss)) for loss in row.manifest.accepted)
    return _section("Losses accepted in this batch", element("ul", *items, class_="plain"))


def _footer(json_name: str) -> Markup:
    link = element("a", "JSON", href=json_name)
    return element("footer", f"topicledger {__version__}. The same as ", link, ".")


def _section(title: str, *children: Markup) -> Markup:
    return element("section", element("h2", title), *children)
