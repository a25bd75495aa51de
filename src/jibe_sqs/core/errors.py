"""Everything that can go wrong, in one tree. Each error knows whether trying again can help.

JibeError
├── AnnouncementError          a message body; permanent: a body never changes
│   ├── AnnouncementMalformed      not JSON, or a known shape with a broken part
│   ├── AnnouncementUnknown        JSON, but of no shape that announces anything
│   ├── AnnouncementUnsupported    a major version that we do not know
│   ├── AnnouncementTooDeep        envelopes in envelopes beyond the limit
│   ├── AnnouncementTooLarge       more in one body than the limit
│   ├── AnnouncementUnsigned       not signed by SNS, where it must be
│   ├── AnnouncementForged         signed, but not by SNS, or of a topic that is not ours
│   └── SignatureUnavailable       a certificate of SNS's that cannot be fetched; transient
├── LogError                   a log file's content; transient: a file can be replaced, so its message waits
│   ├── LogTruncated               ends in the middle
│   ├── LogCorrupt                 not the compression that it claims, or damaged
│   ├── LogMalformed               decompresses, but is not the format
│   ├── RecordMalformed            records of it that cannot be read; permanent: all others are done
│   └── LogLimitExceeded           larger than a limit allows; permanent: nobody wants it read again
├── LogStoreError              fetching a log file
│   ├── LogMissing                 the store says that there is no such object
│   ├── LogAccessDenied            the store refuses us
│   ├── LogStoreUnavailable        the store, or the way to it, fails
│   └── BucketNotAllowed           not a configured log source; permanent
├── VerificationError          a log file, held against CloudTrail's digests
│   ├── LogTampered                not what CloudTrail delivered; permanent
│   ├── DigestInvalid              a digest that is not CloudTrail's, or out of its chain; permanent
│   ├── DigestMissing              no digest tells of the log file yet
│   └── KeysUnavailable            CloudTrail does not tell its public keys
├── AccessAnywhereError        the server, or the way to it
│   ├── AccessAnywhereUnavailable  no answer, or none that helps: 429, 5xx, a broken connection, a time-out
│   ├── LoginFailed                the server refuses our credentials
│   ├── CallFailed                 the server answers with an error code
│   ├── AnswerMalformed            the server answers something that we cannot read
│   ├── DownloadTruncated          a file of which fewer bytes arrive than were promised
│   ├── RefreshTimedOut            a refresh that does not end
│   ├── FolderUnknown              a mapped folder that the server does not have, nor any above it
│   └── BucketAppeared             a bucket that turned out to be shown after its changes were decided on
├── QueueError                 SQS
│   ├── QueueUnavailable           fails, or cannot be reached
│   ├── QueueRefused               no such queue, or no permission; permanent
│   └── ReceiptLost                the message is somebody else's now
├── LedgerError                the ledger cannot be read or written
└── SettingsError              the configuration; permanent: the operator mends it
"""

from enum import Enum
from typing import ClassVar, Self


class Disposition(Enum):
    """Whether trying again, with nothing else changed by us, can help."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


TRANSIENT = Disposition.TRANSIENT
PERMANENT = Disposition.PERMANENT


class JibeError(Exception):
    """Of everything that jibe-sqs raises on purpose. Its text is for an operator."""

    disposition: ClassVar[Disposition] = TRANSIENT


class AnnouncementError(JibeError):
    """A message body that announces nothing we can act on."""

    disposition = PERMANENT


class AnnouncementMalformed(AnnouncementError):
    """Not JSON, or a known shape with a broken part."""


class AnnouncementUnknown(AnnouncementError):
    """JSON, but of no shape that announces anything."""


class AnnouncementUnsupported(AnnouncementError):
    """A known shape in a major version that we do not know."""


class AnnouncementTooDeep(AnnouncementError):
    """Envelopes in envelopes beyond the limit."""


class AnnouncementTooLarge(AnnouncementError):
    """More in one body than the limit."""


class AnnouncementUnsigned(AnnouncementError):
    """Not signed by SNS, where it must be."""


class AnnouncementForged(AnnouncementError):
    """Signed, but not by SNS; or of a topic that is not ours."""


class SignatureUnavailable(AnnouncementError):
    """A certificate of SNS's cannot be fetched, so nobody knows whether the message is SNS's."""

    disposition = TRANSIENT


class LogError(JibeError):
    """A log file's content. A file can be replaced where a message cannot: see ADR 0003."""


class LogTruncated(LogError):
    """The file ends in the middle."""


class LogCorrupt(LogError):
    """Not the compression that it claims to be, or damaged."""


class LogMalformed(LogError):
    """It decompresses, but is not the format."""


class RecordMalformed(LogError):
    """A record does not say which object it is about, or is not what the format says.

    `index` counts records from 0, or lines from 1. `offset`: where it begins, in bytes of decompressed text, if known.
    `field`: the name of the field that cannot be read, if it is one field.

    Permanent: all other records of the file are done, and only somebody who looks at this one can say what it means.
    """

    disposition = PERMANENT

    def __init__(self, message: str, *, index: int, offset: int | None = None, field: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.offset = offset
        self.field = field


class LogLimitExceeded(LogError):
    """Larger than a limit allows."""

    disposition = PERMANENT


class LogStoreError(JibeError):
    """A log file could not be fetched."""


class LogMissing(LogStoreError):
    """The store says that there is no such object."""


class LogAccessDenied(LogStoreError):
    """The store refuses us."""


class LogStoreUnavailable(LogStoreError):
    """The store, or the way to it, fails."""


class BucketNotAllowed(LogStoreError):
    """The bucket is no configured log source, so it is never read."""

    disposition = PERMANENT

    @classmethod
    def of(cls, bucket: str, key: str) -> Self:
        """With the remedy for an operator."""
        return cls(
            f"s3://{bucket}/{key} is in none of the configured logs: add it to `logs`, or find out who announces it"
        )


class VerificationError(JibeError):
    """A log file could not be shown to be what CloudTrail delivered."""


class LogTampered(VerificationError):
    """The log file is not what CloudTrail delivered: its digest, which is CloudTrail's, says otherwise."""

    disposition = PERMANENT


class DigestInvalid(VerificationError):
    """A digest proves nothing. `fault` is one word of `core.digests.Fault`."""

    disposition = PERMANENT

    def __init__(self, message: str, *, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


class DigestMissing(VerificationError):
    """No digest tells of the log file yet, or a digest is not there.

    `expected_at`: seconds since the epoch by when it should be, where that can be told.
    """

    def __init__(self, message: str, *, expected_at: float | None = None) -> None:
        super().__init__(message)
        self.expected_at = expected_at


class KeysUnavailable(VerificationError):
    """CloudTrail does not tell the public keys of its digests: it fails, cannot be reached, or refuses us."""


class AccessAnywhereError(JibeError):
    """Access Anywhere, or the way to it."""


class AccessAnywhereUnavailable(AccessAnywhereError):
    """No answer, or none that helps. `retry_after` is the server's wish in seconds, if it has one."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LoginFailed(AccessAnywhereError):
    """The server refuses our credentials."""


class CallFailed(AccessAnywhereError):
    """The server answers with an error code. `code` is its word."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerMalformed(AccessAnywhereError):
    """The server answers something that we cannot read."""


class DownloadTruncated(AccessAnywhereError):
    """Of a file that is read through the server, fewer bytes arrive than it promised."""


class RefreshTimedOut(AccessAnywhereError):
    """A refresh that does not end within its time."""


class FolderUnknown(AccessAnywhereError):
    """A mapped folder that the server does not have, nor any above it."""


class BucketAppeared(AccessAnywhereError):
    """A bucket turned out to be shown after its changes were decided on."""


class QueueError(JibeError):
    """SQS, or the way to it."""


class QueueUnavailable(QueueError):
    """SQS fails, or cannot be reached."""


class QueueRefused(QueueError):
    """No such queue, or no permission to use it."""

    disposition = PERMANENT


class ReceiptLost(QueueError):
    """The receipt is no longer valid: the message is somebody else's now."""


class LedgerError(JibeError):
    """The ledger cannot be read or written."""


class SettingsError(JibeError):
    """The configuration is wrong. `problems` has a line for each mistake.

    `in_settings`: whether values of settings are missing or wrong, not a file, a variable of AWS's or a store.
    """

    disposition = PERMANENT

    def __init__(self, problems: list[str], *, in_settings: bool = False) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.in_settings = in_settings
