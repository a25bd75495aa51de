"""The messages of the control socket, as both of its ends see them: JSON over HTTP on a Unix-domain socket.

GET  /status              `ServiceStatus`
GET  /snapshot            `telemetry.status.Status`
GET  /log                 the last lines of the log, as a list of texts
GET  /places?bucket=…     `BucketPlaces`
GET  /folder?path=…       `FolderState`; `tree=1` for the folder with everything below it
POST /pause               `PauseRequest` -> `PauseAnswer`
POST /resume              `ResumeRequest` -> `PauseAnswer`
POST /refresh             `RefreshRequest` -> one `Step` per line, one `Ended` for each folder; the last line ends it

Both ends are of one release, except while a release is replaced.
"""

from typing import Annotated, Final

import msgspec

from jibe_sqs.core.model import Folder
from jibe_sqs.core.pauses import MAX_PROVIDER_LENGTH, MAX_REASON_LENGTH, MAX_SECONDS
from jibe_sqs.syncing.outcomes import LastError

MAX_FOLDERS: Final = 1000
"""Folders in one request."""


class QueueState(msgspec.Struct, frozen=True):
    """A queue. `trouble`: why nothing can be received from it; empty if it works.

    `last_message`: when its last message was received, in seconds since the epoch, local clock; 0 for never.
    """

    name: str
    trouble: str = ""
    last_message: float = 0.0


class ServiceStatus(msgspec.Struct, frozen=True):
    """What the running service knows of itself. Each text is a sentence for an operator.

    `gates`: why no work is taken now. `outages`: log buckets that cannot be read. `running`: seconds since the start.
    `messages`: received since the start. `unmapped`: buckets with changes that no place shows, some of them.
    `silences`: queues and log sources from which nothing came for longer than is expected.
    """

    version: str
    running: float
    messages: int
    ready: bool
    gates: list[str]
    outages: list[str]
    queues: list[QueueState]
    unmapped: list[str]
    silences: list[str] = []


class ShownAt(msgspec.Struct, frozen=True):
    """A folder of Access Anywhere that shows a bucket, or the part of it below `prefix`."""

    folder: str
    prefix: str = ""


class BucketPlaces(msgspec.Struct, frozen=True):
    """Where a bucket is shown, as the service knows it now. `reason`: why that is not known; empty if it is known."""

    places: list[ShownAt]
    reason: str = ""


class PendingState(msgspec.Struct, frozen=True):
    """A refresh that waits or runs. `waited`: seconds since its first request. `reason`: a word of `RefreshReason`."""

    waited: float
    reason: str


class FolderState(msgspec.Struct, frozen=True):
    """A folder. `watermark`: when its last successful refresh began (seconds since the epoch, S3's clock), if known."""

    folder: Folder
    watermark: float | None = None
    pending: PendingState | None = None
    last_error: LastError | None = None


class RefreshRequest(msgspec.Struct, frozen=True):
    """The folders to refresh."""

    folders: Annotated[list[Folder], msgspec.Meta(min_length=1, max_length=MAX_FOLDERS)]


class PauseRequest(msgspec.Struct, frozen=True):
    """Pause a provider of Access Anywhere, or everything (empty)."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)]
    provider: Annotated[str, msgspec.Meta(max_length=MAX_PROVIDER_LENGTH)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH)] = ""


class ResumeRequest(msgspec.Struct, frozen=True):
    """End the pause of a provider, of everything (empty), or all pauses (None)."""

    provider: Annotated[str, msgspec.Meta(max_length=MAX_PROVIDER_LENGTH)] | None = None


class PauseState(msgspec.Struct, frozen=True):
    """A pause. `since`, `until`: seconds since the epoch, local clock. `sentence`: for an operator."""

    provider: str
    since: float
    until: float
    reason: str
    sentence: str


class PauseAnswer(msgspec.Struct, frozen=True):
    """The pauses that there are now, what an operator should know of them, and those that were ended."""

    pauses: list[PauseState]
    warnings: list[str] = []
    ended: list[PauseState] = []
