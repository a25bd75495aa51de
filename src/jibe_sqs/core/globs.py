"""Patterns of operators: of ARNs, of names of buckets, and of keys. `*` stands for any characters, also `/`; `?` for one."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property


class Globs:
    """Patterns that match whole texts. Case counts, and brackets have no meaning."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)
        # Without patterns, the expression matches nothing.
        expressions = [f"({translate(pattern.replace('[', '[[]'))})" for pattern in self._patterns] or ["(?!)"]
        self._match = re.compile("|".join(expressions)).match

    def first(self, text: str) -> str | None:
        """The first pattern that matches the text. None if no pattern does."""
        found = self._match(text)
        # Each pattern is a group, and there are no groups inside.
        return self._patterns[found.lastindex - 1] if found is not None and found.lastindex else None

    def match(self, text: str) -> bool:
        """Whether a pattern matches the text."""
        return self._match(text) is not None


@dataclass(frozen=True)
class KeyFilter:
    """Patterns of keys. Two filters with the same patterns are equal.

    - A pattern that ends in `/` matches all keys below such a folder. If it has no other `/`, the folder may be at any
      depth, as in `.gitignore`; otherwise its path begins where the key begins.
    - Any other pattern must match the whole key.
    """

    patterns: tuple[str, ...]

    @cached_property
    def matches(self) -> Callable[[str], bool]:
        """Whether a key matches a pattern."""
        return _matcher([glob for pattern in self.patterns for glob in _globs(pattern)])

    @cached_property
    def covers(self) -> Callable[[str], bool]:
        """Whether all keys below a folder, which ends in `/`, match. False does not mean that some key does not match."""
        # If such a pattern matches a folder, its last `*` also takes in whatever follows.
        return _matcher([glob for pattern in self.patterns for glob in _globs(pattern) if glob.endswith("*")])


def _globs(pattern: str) -> Iterable[str]:
    """The same pattern, as patterns that match whole keys."""
    if not pattern.endswith("/"):
        yield pattern
        return
    yield f"{pattern}*"
    if "/" not in pattern[:-1]:
        yield f"*/{pattern}*"


def _matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text matches one of the patterns. Most patterns are plain texts with `*` at their ends: those are fast."""
    whole, starts, ends, parts, others = set[str](), list[str](), list[str](), list[str](), list[str]()
    for glob in globs:
        text = glob.strip("*")
        if "*" in text or "?" in text:
            others.append(glob)
        elif glob == text:
            whole.add(text)
        elif not glob.startswith("*"):
            starts.append(text)
        elif not glob.endswith("*"):
            ends.append(text)
        else:
            parts.append(text)
    first, last, other = tuple(starts), tuple(ends), Globs(others).match if others else None

    def matches(text: str) -> bool:
        if text.startswith(first) or text.endswith(last) or text in whole:
            return True
        for part in parts:
            if part in text:
                return True
        return other is not None and other(text)

    return matches
