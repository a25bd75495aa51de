"""What the server is told: who may log in, which buckets it shows where, and what goes wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import msgspec

from jibe_sqs.sandbox.access_anywhere.faults import Faults

TaskTypes = Literal["custom", "sync"]


@dataclass(frozen=True, slots=True)
class Synced:
    """A provider's sync that is over. Times are seconds since the epoch."""

    began: float
    ended: float
    files: int = 0


@dataclass(frozen=True, slots=True)
class Provider:
    """A top-level folder that shows buckets of one region. A bucket may stand in several."""

    name: str
    region: str = "us-east-1"
    buckets: tuple[str, ...] = ()
    is_bucket: bool = False
    """The folder does not hold the bucket: it is the bucket."""
    prefix: str = ""
    """Only keys below it are shown, without it. Empty, or ends in `/`."""
    synced: Synced | None = None
    """Its initial sync, as the background tasks tell of it; by default at the server's start. Puts nothing into the index."""

    trash: bool = True
    """Deleted and overwritten files are moved to the bucket's folder `.trash`."""

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError("A provider has a name without a slash")
        if self.is_bucket and len(self.buckets) != 1:
            raise ValueError(f"{self.name}: a provider that is a bucket has one of them in `buckets`")
        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"{self.name}: the prefix {self.prefix!r} has to end in a slash")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnywhereServer:
    """Settings of one server. All times in seconds; an empty secret opens nothing."""

    login: str
    password: str = field(repr=False)
    permanent_token: str = field(default="", repr=False)
    token_ttl: float = 3600.0
    """A session dies this long after its last use."""
    recent_window: float = 0.5
    """A folder refreshed no longer ago than this is not refreshed again: the answer has no refresh token."""
    refresh_seconds: float = 0.05
    """How long a refresh takes at least. S3 is listed at its beginning, the index changes at its end."""
    providers: tuple[Provider, ...] = ()
    case_insensitive: bool = False
    """Keys of one folder that differ only in case get one name: the one listed later is shown, and no other."""
    task_types: TaskTypes = "custom"
    """The `bt_type` of syncs and refreshes. With `custom`, only `bt_data.callback` tells them from other tasks."""
    unnamed_tasks: bool = False
    """Background tasks do not say which provider they are about."""
    tasks_without_start: bool = False
    """Background tasks say when they ended, but not when they were added."""
    faults: Faults = field(default_factory=Faults)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The settings in a JSON file. Raises `msgspec.ValidationError` with the name of what is wrong."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def regions(self) -> dict[str, str]:
        """The region of each bucket; the first provider that names it decides."""
        return regions(self.providers)


def regions(providers: Iterable[Provider]) -> dict[str, str]:
    """The region of each bucket; the first provider that names it decides."""
    places = [(bucket, p.region) for p in providers for bucket in p.buckets]
    return dict(reversed(places))
