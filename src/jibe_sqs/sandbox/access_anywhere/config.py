"""What the server is told: who may log in, and which buckets it shows where."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec


@dataclass(frozen=True, slots=True)
class Provider:
    """A top-level folder that shows buckets of one region. A bucket may stand in several."""

    name: str
    region: str = "us-east-1"
    buckets: tuple[str, ...] = ()


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

    @classmethod
    def read(cls, path: Path) -> Self:
        """The settings in a JSON file. Raises `msgspec.ValidationError` with the name of what is wrong."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def regions(self) -> dict[str, str]:
        """The region of each bucket; the first provider that names it decides."""
        places = [(bucket, p.region) for p in self.providers for bucket in p.buckets]
        return dict(reversed(places))
