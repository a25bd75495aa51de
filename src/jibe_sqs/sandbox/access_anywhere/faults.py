"""What goes wrong with calls, as somebody has switched it on.

A `rate` is the share, from 0 to 1, of the calls concerned. None switches a mode off. Several modes may be on: a call can
be slow and fail as well, but fails in one way only.
"""

from typing import Annotated

from msgspec import Meta, Struct

Rate = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0)]
RetryAfter = Annotated[int, Meta(ge=0)]


class _Mode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate: Rate = 1.0


class Slow(_Mode, frozen=True, kw_only=True):
    """The call is held before it is looked at."""

    seconds: Seconds = 1.0


class TooManyRequests(_Mode, frozen=True, kw_only=True):
    """HTTP 429. The call has no effect."""

    retry_after: RetryAfter | None = None


class ServerError(_Mode, frozen=True, kw_only=True):
    """HTTP 500, 502, 503, 504 in turns; every second call has had its effect, and only its answer is lost."""

    retry_after: RetryAfter | None = None
    """Of a 503."""


class Resets(_Mode, frozen=True, kw_only=True):
    """The connection is reset, without an answer; every second call has had its effect."""


class ErrorBackground(_Mode, frozen=True, kw_only=True):
    """The code `error_background`, to calls that need a login. The call has no effect."""


class ExpiredTokens(_Mode, frozen=True, kw_only=True):
    """The token of a call is forgotten, as is seen by this call and every later one that bears it."""


class TruncatedDownloads(_Mode, frozen=True, kw_only=True):
    """Half of a download's bytes come, though all were promised, and then the connection is closed."""


class FoldersTooLarge(_Mode, frozen=True, kw_only=True):
    """The refresh of a folder with more than `most` entries takes long, or is refused with `folder_too_large`."""

    most: Annotated[int, Meta(ge=0)] = 1000
    seconds_per_thousand: Seconds = 1.0
    """For each thousand entries that the folder has."""
    refuse: bool = False


class SyncInProgress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sync of these providers (none named: of all) begins, and ends when this is cleared."""

    providers: tuple[str, ...] = ()


class Down(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every call is answered 503, or its connection reset, until this is cleared or so many seconds are over."""

    seconds: Seconds | None = None
    reset: bool = False


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All modes. The same `seed` and the same calls have the same faults."""

    seed: int = 0
    failures: Rate = 0.0
    """This share of calls meets, in turns: 429, 5xx, a reset, `error_background`, an expired token."""
    slow: Slow | None = None
    too_many_requests: TooManyRequests | None = None
    server_error: ServerError | None = None
    resets: Resets | None = None
    error_background: ErrorBackground | None = None
    expired_tokens: ExpiredTokens | None = None
    truncated_downloads: TruncatedDownloads | None = None
    folders_too_large: FoldersTooLarge | None = None
    sync_in_progress: SyncInProgress | None = None
    down: Down | None = None
