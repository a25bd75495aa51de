"""Makes text from outside safe for a terminal: keys, names and bodies may contain control characters."""

import textwrap
from typing import Final

LINE_WIDTH: Final = 80
"""Columns of texts for people."""


def printable(text: str, allowed: str = "") -> str:
    """Replace each character that is not printable by U+FFFD, except those in `allowed`."""
    return "".join(c if c.isprintable() or c in allowed else "\N{REPLACEMENT CHARACTER}" for c in text)


def wrapped(text: str, *, first_indent: str = "", indent: str = "") -> list[str]:
    """Wrap printable text to lines of `LINE_WIDTH` columns. Keys and ids are not broken at their hyphens."""
    return textwrap.wrap(
        printable(text), LINE_WIDTH, initial_indent=first_indent, subsequent_indent=indent, break_on_hyphens=False
    )
