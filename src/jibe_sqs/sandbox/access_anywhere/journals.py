"""Journals: what was seen of single objects while a sync was running."""

from collections.abc import Iterator
from contextlib import contextmanager

from jibe_sqs.sandbox.access_anywhere.storage import StoredObject

Journal = dict[tuple[str, str], StoredObject | None]
"""(bucket, key) -> the object; None: the object does not exist."""


class Journals:
    """The journals of all running syncs."""

    def __init__(self) -> None:
        self._open: list[tuple[float, Journal]] = []

    @contextmanager
    def journal(self, since: float) -> Iterator[Journal]:
        """Yields a journal that collects observations made at or after `since`, until the block ends."""
        journal: Journal = {}
        self._open.append((since, journal))
        try:
            yield journal
        finally:
            # Not `remove`: it compares by value, and two empty journals are equal.
            self._open = [other for other in self._open if other[1] is not journal]

    def note(self, bucket: str, key: str, seen: StoredObject | None, *, at: float) -> None:
        """Record an observation: the object as it was at `at`, or None if it did not exist."""
        for since, journal in self._open:
            if at >= since:
                journal[bucket, key] = seen
