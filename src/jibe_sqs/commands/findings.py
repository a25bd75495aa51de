"""What a verification finds, and the summary of it."""

from collections import Counter
from datetime import datetime
from enum import StrEnum

import msgspec


class Subject(StrEnum):
    """What a finding is about."""

    DIGEST = "digest"
    BACKFILL = "backfill digest"
    LOG = "log file"
    GAP = "gap"
    """A time range without a valid digest."""


class Status(StrEnum):
    """The result of checking a file or a time range."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    UNLISTED = "unlisted"
    """The log file exists, but no digest of its time lists it."""
    UNREADABLE = "unreadable"
    """The file could not be read, so its state is unknown."""
    UNCOVERED = "uncovered"
    """No valid digest covers the time range."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the report."""

    what: Subject
    status: Status
    bucket: str = ""
    key: str = ""
    reason: str = ""
    """A fixed word for programs; empty if the status is valid."""
    message: str = ""
    """A sentence for people."""
    start: datetime | None = None
    end: datetime | None = None
    """The time range of a valid digest or of a gap."""
    trail: str = ""

    @classmethod
    def gap(cls, start: datetime, end: datetime, *, reason: str, message: str, trail: str) -> "Finding":
        """A time range without a valid digest."""
        return cls(Subject.GAP, Status.UNCOVERED, reason=reason, message=message, start=start, end=end, trail=trail)


class Summary:
    """Counts the findings."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Subject, Status]] = Counter()
        self.start: datetime | None = None
        self.end: datetime | None = None
        """The first and the last moment that a valid digest covers."""

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        self.counts[finding.what, finding.status] += 1
        if finding.what in (Subject.DIGEST, Subject.BACKFILL) and finding.status is Status.VALID:
            if finding.start and (self.start is None or finding.start < self.start):
                self.start = finding.start
            if finding.end and (self.end is None or finding.end > self.end):
                self.end = finding.end

    @property
    def exit_code(self) -> int:
        """0: everything is valid. 1: a file is not valid, or could not be checked. 3: there are only gaps."""
        bad = sum(count for (_, status), count in self.counts.items() if status not in (Status.VALID, Status.UNCOVERED))
        return 1 if bad else 3 if self.counts[Subject.GAP, Status.UNCOVERED] else 0
