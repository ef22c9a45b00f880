"""HTML in which forgetting to escape is impossible: text is escaped unless it was made here."""

from __future__ import annotations

import html

from topicledger.report.display import printable


class Markup(str):
    """A string of HTML, made by `element` or `joined` alone."""

    __slots__ = ()


Child = Markup | str

EMPTY = Markup("")


def escaped(child: Child) -> Markup:
    """Return HTML as it is, and any other text escaped, with invisible characters made visible."""
    return child if isinstance(child, Markup) else Markup(html.escape(printable(child)))


def joined(*children: Child) -> Markup:
    """Put children one after the other."""
    return Markup("".join(escaped(child) for child in children))


def element(name: str, *children: Child, **attributes: str) -> Markup:
    """Make an element with its end tag.

    Args:
        name: The tag.
        children: Text, which is escaped, and elements.
        attributes: Escaped; `class_` becomes `class`, `aria_hidden` becomes `aria-hidden`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(printable(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")
