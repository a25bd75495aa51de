"""What the keys of CloudTrail's digests and log files say, and which digests can list a log file.

Source: CloudTrail User Guide, "CloudTrail digest file structure" and "CloudTrail log file name format".
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from jibe_sqs.core.event_times import iso_time

FIRST_YEAR: Final = 2013
"""The year in which CloudTrail was launched."""
LAST_YEAR: Final = 9998
"""Callers add hours to a time, which must not overflow."""
NAME_TOLERANCE: Final = timedelta(minutes=5)
"""The time in a log file's name may be this much later than the end of the digest that lists the file."""

_BASE: Final = r"(?P<base>(?:.*/)?AWSLogs/(?:o-[a-z0-9]+/)?(?P<account>\d{12})/)"
_DIGEST: Final = re.compile(
    _BASE + r"CloudTrail-Digest/(?P<region>[^/]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail-Digest_(?P=region)_(?P<trail>[^/]+)_(?P<home>[a-z0-9-]+)_"
    r"(?P<end>\d{8}T\d{6}Z)(?P<backfill>_backfill)?\.json\.gz",
    re.DOTALL,
)
_LOG: Final = re.compile(
    _BASE + r"CloudTrail/(?P<region>[^/]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail_(?P=region)_(?P<time>\d{8}T\d{4}(?:\d\d)?Z)(?:_[^/]*)?\.json(?:\.gz)?",
    re.DOTALL,
)


class DigestName(msgspec.Struct, frozen=True):
    """The parts of a digest's key."""

    base: str
    """The key up to the account and the slash after it."""
    account: str
    region: str
    trail: str
    home: str
    """The trail's home region."""
    end: datetime
    backfill: bool
    """The digest lists log files that an earlier digest left out, because CloudTrail delivered them late."""

    @property
    def chain(self) -> tuple[str, str, str, str, bool]:
        """The parts that it has in common with the digest before it."""
        return (self.base, self.region, self.trail, self.home, self.backfill)


class LogName(msgspec.Struct, frozen=True):
    """The parts of a log file's key. `time`: of its delivery, cut to the minute."""

    base: str
    account: str
    region: str
    time: datetime


def digest_name(key: str) -> DigestName | None:
    """The parts of a digest's key. None if it is not a key of a digest."""
    found = _DIGEST.fullmatch(key)
    end = _time(found["end"]) if found else None
    if found is None or end is None:
        return None
    return DigestName(
        found["base"],
        found["account"],
        found["region"],
        found["trail"],
        found["home"],
        end,
        backfill=found["backfill"] is not None,
    )


def log_name(key: str) -> LogName | None:
    """The parts of a log file's key. None if CloudTrail does not name log files like this."""
    found = _LOG.fullmatch(key)
    time = _time(found["time"]) if found else None
    if found is None or time is None:
        return None
    return LogName(found["base"], found["account"], found["region"], time)


def digest_folders(base: str, region: str, start: datetime, end: datetime) -> Iterator[str]:
    """The prefixes of all keys of digests that end between these times, oldest first. `base` as in a name."""
    return _folders(f"{base}CloudTrail-Digest/{region}", start, end)


def log_folders(base: str, region: str, start: datetime, end: datetime) -> Iterator[str]:
    """The prefixes of all keys of log files that were delivered between these times, oldest first."""
    return _folders(f"{base}CloudTrail/{region}", start, end)


def search_folders(log: LogName, forward: timedelta) -> list[str]:
    """The prefixes of the digests that can list this log file: they end up to `forward` after its delivery."""
    return list(digest_folders(log.base, log.region, log.time - NAME_TOLERANCE, log.time + forward))


def candidates(log: LogName, keys: Iterable[str], forward: timedelta) -> list[str]:
    """Those of the keys that are of digests which can list this log file, the most likely first.

    The most likely one covers the hour of the delivery. But CloudTrail may list a file an hour or more later, or in a
    backfill.
    """
    found = []
    for key in keys:
        name = digest_name(key)
        if (
            name is not None
            and (name.base, name.region) == (log.base, log.region)
            and log.time - NAME_TOLERANCE <= name.end <= log.time + forward
        ):
            found.append((name.end < log.time, name.end, name.backfill, key))
    return [key for *_, key in sorted(found)]


def is_plausible(time: datetime) -> bool:
    """Whether CloudTrail can have written this time."""
    return FIRST_YEAR <= time.year <= LAST_YEAR


def _time(text: str) -> datetime | None:
    """The time in a name: `20150817T150131Z`, or `20150817T1501Z`."""
    try:
        time = iso_time(text)
    except ValueError:
        return None
    return time if is_plausible(time) else None


def _folders(above: str, start: datetime, end: datetime) -> Iterator[str]:
    day = start.astimezone(UTC).date()
    while day <= end.astimezone(UTC).date():
        yield f"{above}/{day:%Y/%m/%d}/"
        day += timedelta(days=1)
