"""The server's settings: credentials, providers with their buckets, and faults."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import msgspec

from jibe_sqs.sandbox.access_anywhere.faults import Faults

TaskTypes = Literal["custom", "sync"]


@dataclass(frozen=True, slots=True)
class Synced:
    """A provider's completed sync. Times: seconds since the epoch."""

    began: float
    ended: float
    files: int = 0


@dataclass(frozen=True, slots=True)
class Provider:
    """A top-level folder that shows buckets of one region. Several providers may show the same bucket."""

    name: str
    region: str = "us-east-1"
    buckets: tuple[str, ...] = ()
    is_bucket: bool = False
    """If true, the provider's folder shows the contents of its only bucket.

    Otherwise it contains a folder for each bucket.
    """
    prefix: str = ""
    """Only keys with this prefix are shown, without the prefix. Empty, or ends in `/`."""
    synced: Synced | None = None
    """The initial sync, as the background tasks list it. Default: at the server's start. It adds
    nothing to the index.
    """

    trash: bool = True
    """Deleted and overwritten files are moved to the bucket's folder `.trash`."""

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError("A provider needs a name without a slash")
        if self.is_bucket and len(self.buckets) != 1:
            raise ValueError(f"{self.name}: a provider with `is_bucket` needs exactly one bucket in `buckets`")
        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"{self.name}: the prefix {self.prefix!r} must end in a slash")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnywhereServer:
    """The settings of one server. Times: seconds. An empty password or permanent token is never accepted."""

    login: str
    password: str = field(repr=False)
    permanent_token: str = field(default="", repr=False)
    token_ttl: float = 3600.0
    """A session ends this long after its last use."""
    recent_window: float = 0.5
    """A folder that was refreshed less than this ago is not refreshed again: the answer has no refresh token."""
    refresh_seconds: float = 0.05
    """The minimum duration of a refresh. S3 is listed at its start, and the index changes at its end."""
    providers: tuple[Provider, ...] = ()
    case_insensitive: bool = False
    """If true, keys of one folder that differ only in case share one name. Only the key that was
    listed last is shown.
    """
    task_types: TaskTypes = "custom"
    """The `bt_type` of syncs and refreshes. With `custom`, only `bt_data.callback` distinguishes them
    from other tasks.
    """
    unnamed_tasks: bool = False
    """If true, background tasks do not name their provider."""
    tasks_without_start: bool = False
    """If true, background tasks have an end time, but no start time."""
    faults: Faults = field(default_factory=Faults)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the settings from a JSON file. Raises `msgspec.ValidationError` with the name of the wrong field."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def regions(self) -> dict[str, str]:
        """Bucket -> region. If providers disagree, the first one decides."""
        return regions(self.providers)


def regions(providers: Iterable[Provider]) -> dict[str, str]:
    """Bucket -> region. If providers disagree, the first one decides."""
    places = [(bucket, p.region) for p in providers for bucket in p.buckets]
    return dict(reversed(places))
