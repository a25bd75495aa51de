"""The faults that can be switched on.

A `rate` is the share of the calls that fail, from 0 to 1. None switches a mode off. A call can be slow and also
fail, but it fails in only one way.
"""

from typing import Annotated

from msgspec import Meta, Struct

Rate = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0)]
RetryAfter = Annotated[int, Meta(ge=0)]


class _Mode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate: Rate = 1.0


class Slow(_Mode, frozen=True, kw_only=True):
    """The call waits before it is handled."""

    seconds: Seconds = 1.0


class TooManyRequests(_Mode, frozen=True, kw_only=True):
    """HTTP 429. The call has no effect."""

    retry_after: RetryAfter | None = None


class ServerError(_Mode, frozen=True, kw_only=True):
    """HTTP 500, 502, 503 and 504 in turn. Every second call takes effect, and only its answer is lost."""

    retry_after: RetryAfter | None = None
    """The Retry-After header of a 503."""


class Resets(_Mode, frozen=True, kw_only=True):
    """The connection is reset without an answer. Every second call takes effect."""


class ErrorBackground(_Mode, frozen=True, kw_only=True):
    """The error code `error_background`, for calls that need a login. The call has no effect."""


class ExpiredTokens(_Mode, frozen=True, kw_only=True):
    """The server forgets the token of the call. This call and all later calls with this token are refused."""


class TruncatedDownloads(_Mode, frozen=True, kw_only=True):
    """Only half of the promised bytes are sent; then the connection is closed."""


class FoldersTooLarge(_Mode, frozen=True, kw_only=True):
    """The refresh of a folder with more than `most` entries is slow, or is refused with `folder_too_large`."""

    most: Annotated[int, Meta(ge=0)] = 1000
    seconds_per_thousand: Seconds = 1.0
    """Seconds for each thousand entries in the folder."""
    refuse: bool = False


class HugeAnswers(_Mode, frozen=True, kw_only=True):
    """The answer has another field besides its own: a list of empty objects, of so many bytes."""

    size: Annotated[int, Meta(ge=0)] = 60_000_000


class SyncInProgress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Syncs of these providers begin (empty: of all), and end when this fault is cleared."""

    providers: tuple[str, ...] = ()


class Down(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every call is answered with 503, or reset, until this fault is cleared or the seconds are over."""

    seconds: Seconds | None = None
    reset: bool = False


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All faults. The same `seed` and the same calls give the same faults."""

    seed: int = 0
    failures: Rate = 0.0
    """This share of the calls fails, in turn with 429, 5xx, a reset, `error_background` and an expired token."""
    slow: Slow | None = None
    too_many_requests: TooManyRequests | None = None
    server_error: ServerError | None = None
    resets: Resets | None = None
    error_background: ErrorBackground | None = None
    expired_tokens: ExpiredTokens | None = None
    truncated_downloads: TruncatedDownloads | None = None
    folders_too_large: FoldersTooLarge | None = None
    huge_answers: HugeAnswers | None = None
    sync_in_progress: SyncInProgress | None = None
    down: Down | None = None
