"""What is known about one object: in S3, in Access Anywhere, in the service, and in the ledger."""

from collections.abc import Sequence

import msgspec

from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.history import Remembered
from jibe_sqs.core.model import Folder


class Stored(msgspec.Struct, frozen=True):
    """The object in S3. `modified`: seconds since the epoch."""

    size: int
    modified: float


class Unknown(msgspec.Struct, frozen=True):
    """Something could not be found out. `is_outage`: the system that was asked does not work."""

    reason: str
    is_outage: bool = False


class Shown(msgspec.Struct, frozen=True):
    """What Access Anywhere shows at one place of the object. `folder`: the folder that is refreshed for it.

    `entry`: None if it shows nothing of that name. `alike`: other names in its folder that differ only in case.
    """

    path: str
    folder: Folder
    entry: Entry | Unknown | None = None
    alike: Sequence[str] = ()


class FolderFacts(msgspec.Struct, frozen=True):
    """A folder. `watermark`: when its last successful refresh began. `waited`: seconds of a pending refresh, if there is one.

    `error`: the class and the text of its last refresh's error, if that failed.
    """

    folder: Folder
    watermark: float | None = None
    waited: float | None = None
    reason: str = ""
    error: str = ""


class ServiceFacts(msgspec.Struct, frozen=True):
    """The running service. `running`: seconds since its start. `messages`: received since then.

    `last_message`: when the last one was received, also before that start (seconds since the epoch); 0 for never.
    """

    running: float = 0.0
    messages: int = 0
    gates: Sequence[str] = ()
    outages: Sequence[str] = ()
    troubles: Sequence[str] = ()
    """Why queues cannot be received from."""
    silences: Sequence[str] = ()
    """Queues and log sources from which nothing came for longer than is expected."""
    last_message: float = 0.0


class Letter(msgspec.Struct, frozen=True):
    """A dead letter. `names_it`: it names the object, or its folder."""

    id: str
    error: str
    reason: str
    names_it: bool


class ObjectFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about an object at the time `now` (seconds since the epoch).

    `shown` has an entry for each place; it is empty if no place shows the key. `stored`: None if S3 has no such object.
    `newest_read`: when the newest log file or message was read. `service`: None if no running service answered.
    """

    bucket: str
    key: str
    now: float
    shown: Sequence[Shown] | Unknown = ()
    stored: Stored | Unknown | None = None
    ignored_by: str = ""
    """The setting that ignores the key."""
    folders: Sequence[FolderFacts] = ()
    service: ServiceFacts | None = None
    history: Sequence[Remembered] | Unknown = ()
    newest_read: float | None = None
    letters: Sequence[Letter] | Unknown = ()

    @property
    def url(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"
