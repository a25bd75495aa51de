"""Who is told how far it is."""

from collections.abc import Callable

Watch = Callable[[str], None]
"""Told of each new phase, in words for people."""
