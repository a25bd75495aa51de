"""All errors of jibe-sqs, in one tree. Each error says whether trying again can help.

JibeError
├── AnnouncementError          a message body; permanent: a body never changes
│   ├── AnnouncementMalformed      not JSON, or a known shape with a broken part
│   ├── AnnouncementUnknown        JSON of an unknown shape
│   ├── AnnouncementUnsupported    a major version that is not known
│   ├── AnnouncementTooDeep        more nested SNS envelopes than the limit
│   ├── AnnouncementTooLarge       more items, or a longer name, than the limit
│   ├── AnnouncementUnsigned       not signed by SNS, although a signature is required
│   ├── AnnouncementForged         not signed by SNS, or of a topic that is not configured
│   └── SignatureUnavailable       SNS's certificate cannot be fetched; transient
├── LogError                   the content of a log file; transient: a file can be replaced, so its message waits
│   ├── LogTruncated               ends too early
│   ├── LogCorrupt                 damaged compression, or another compression than its first bytes say
│   ├── LogMalformed               can be decompressed, but is not of the expected format
│   ├── RecordMalformed            some records cannot be read; permanent: all other records are done
│   └── LogLimitExceeded           larger than a limit; permanent: reading it again gives the same
├── LogStoreError              a log file cannot be fetched
│   ├── LogMissing                 the store has no such object
│   ├── LogBucketMissing           the store has no such bucket
│   ├── LogAccessDenied            the store denies access
│   ├── LogStoreUnavailable        the store fails, or cannot be reached
│   ├── LogBucketDown              the bucket cannot be read, and too many messages wait for it here
│   └── BucketNotAllowed           not in the configured logs; permanent
├── VerificationError          a log file could not be verified with CloudTrail's digests
│   ├── LogTampered                not what CloudTrail delivered; permanent
│   ├── DigestInvalid              a digest that is not CloudTrail's, or does not fit its chain; permanent
│   ├── DigestMissing              no digest lists the log file yet
│   └── KeysUnavailable            CloudTrail's public keys cannot be fetched
├── AccessAnywhereError        the server, or the connection to it
│   ├── AccessAnywhereUnavailable  no usable answer: 429, 5xx, a broken connection, a timeout
│   ├── LoginFailed                the server refuses our credentials
│   ├── CallFailed                 the server answers with an error code
│   ├── AnswerMalformed            the server's answer cannot be read
│   ├── DownloadTruncated          fewer bytes of a file arrived than the server announced
│   ├── RefreshTimedOut            a refresh did not end in time
│   ├── FolderUnknown              the server has neither a mapped folder nor any folder above it
│   ├── BucketAppeared             a bucket was mapped after its changes were decided on
│   └── RefreshPaused              a pause or quiet hours hold the refresh
├── QueueError                 SQS
│   ├── QueueUnavailable           SQS fails, or cannot be reached
│   ├── QueueRefused               no such queue, no permission, or not acceptable; permanent
│   ├── DelayRefused               the message would be hidden for more than twelve hours in all
│   ├── NoQueueUsable              none of the configured queues works at the start
│   └── ReceiptLost                the message now belongs to another consumer
├── LedgerError                the ledger cannot be read or written
├── ComparisonError            nothing is there to compare, or an inventory cannot be used; permanent
├── NotMapped                  an operator asks for a bucket or prefix that no place shows; permanent
├── ControlError               the running service does not answer a command at its control socket
├── SecretUnavailable          a secret cannot be read from where a reference says it is kept
└── SettingsError              the configuration; permanent: the operator must correct it
"""

import math
from enum import Enum
from typing import ClassVar, Self, TypeVar


class Disposition(Enum):
    """Whether trying again can help, if we change nothing else."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


TRANSIENT = Disposition.TRANSIENT
PERMANENT = Disposition.PERMANENT


class JibeError(Exception):
    """The base of all errors that jibe-sqs raises on purpose. The text is for an operator."""

    disposition: ClassVar[Disposition] = TRANSIENT


class AnnouncementError(JibeError):
    """The message body, or a record in it, cannot be used."""

    disposition = PERMANENT


class AnnouncementMalformed(AnnouncementError):
    """The body is not JSON, or has a known shape with a broken part."""


class AnnouncementUnknown(AnnouncementError):
    """The body is JSON of an unknown shape."""


class AnnouncementUnsupported(AnnouncementError):
    """The body has a known shape, in a major version that is not known."""


class AnnouncementTooDeep(AnnouncementError):
    """The body has more nested SNS envelopes than the limit."""


class AnnouncementTooLarge(AnnouncementError):
    """The body has more items than the limit, or a longer name."""


class AnnouncementUnsigned(AnnouncementError):
    """The message is not signed by SNS, although the settings require a signature."""


class AnnouncementForged(AnnouncementError):
    """The signature is not SNS's, or the topic is not one of the configured topics."""


class SignatureUnavailable(AnnouncementError):
    """SNS's certificate cannot be fetched, so the signature cannot be checked."""

    disposition = TRANSIENT


class LogError(JibeError):
    """The content of a log file cannot be used. A file can be replaced, and a message cannot: see ADR 0003."""


class LogTruncated(LogError):
    """The file ends too early."""


class LogCorrupt(LogError):
    """The compressed data is damaged, or has another compression than its first bytes say."""


class LogMalformed(LogError):
    """The file can be decompressed, but is not of the expected format."""


class RecordMalformed(LogError):
    """A record does not name its object, or does not have the form that the format requires.

    `index` counts records from 0, or lines from 1. `offset`: where it begins, in bytes of decompressed text, if known.
    `field`: the name of the field that cannot be read, if it is one field.

    Permanent: all other records of the file are done, and a person must look at this one.
    """

    disposition = PERMANENT

    def __init__(self, message: str, *, index: int, offset: int | None = None, field: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.offset = offset
        self.field = field


class LogLimitExceeded(LogError):
    """The file, or a record in it, is larger than a limit."""

    disposition = PERMANENT


class LogStoreError(JibeError):
    """A log file cannot be fetched."""


class LogMissing(LogStoreError):
    """The store has no such object."""


class LogBucketMissing(LogStoreError):
    """The store has no such bucket."""


class LogAccessDenied(LogStoreError):
    """The store denies access."""


class LogStoreUnavailable(LogStoreError):
    """The store fails, or cannot be reached."""


class LogBucketDown(LogStoreError):
    """The bucket cannot be read, and too many messages wait for it in memory. This one waits in the queue.

    `seconds`: how long the bucket has not been readable. Infinite if that is not known.
    """

    def __init__(self, text: str, seconds: float = math.inf) -> None:
        super().__init__(text)
        self.seconds = seconds


class BucketNotAllowed(LogStoreError):
    """The bucket is not in the configured logs, so it is never read."""

    disposition = PERMANENT

    @classmethod
    def of(cls, bucket: str, key: str) -> Self:
        """The error for one log file, with the remedy."""
        return cls(
            f"s3://{bucket}/{key} is not in the configured logs: add it to `logs`, or find out what announces it"
        )


class VerificationError(JibeError):
    """A log file could not be verified with CloudTrail's digests."""


class LogTampered(VerificationError):
    """The log file is not what CloudTrail delivered: a valid digest lists another hash."""

    disposition = PERMANENT


class DigestInvalid(VerificationError):
    """A digest proves nothing. `fault` is one of `core.digests.Fault`."""

    disposition = PERMANENT

    def __init__(self, message: str, *, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


class DigestMissing(VerificationError):
    """No digest lists the log file yet, or a digest does not exist.

    `expected_at`: when it should exist, in seconds since the epoch; None if that is not known.
    """

    def __init__(self, message: str, *, expected_at: float | None = None) -> None:
        super().__init__(message)
        self.expected_at = expected_at


class KeysUnavailable(VerificationError):
    """CloudTrail's public keys cannot be fetched: CloudTrail fails, cannot be reached, or denies access."""


class AccessAnywhereError(JibeError):
    """Access Anywhere fails, or the connection to it."""


class AccessAnywhereUnavailable(AccessAnywhereError):
    """There is no usable answer. `retry_after`: seconds to wait, if the server asks for that."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LoginFailed(AccessAnywhereError):
    """The server refuses our credentials."""


class CallFailed(AccessAnywhereError):
    """The server answers with an error code, `code`."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerMalformed(AccessAnywhereError):
    """The server's answer cannot be read."""


class DownloadTruncated(AccessAnywhereError):
    """A file was read through the server, and fewer bytes arrived than the server announced."""


class RefreshTimedOut(AccessAnywhereError):
    """A refresh did not end in time."""


class FolderUnknown(AccessAnywhereError):
    """The server has neither a mapped folder nor any folder above it."""


class BucketAppeared(AccessAnywhereError):
    """A bucket was mapped after its changes were decided on. The file must be read again."""


class RefreshPaused(AccessAnywhereError):
    """A pause or quiet hours hold the refresh. A message goes back to its queue if too many wait in memory.

    `seconds`: until the planned end.
    """

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class QueueError(JibeError):
    """SQS fails, or the connection to it."""


class QueueUnavailable(QueueError):
    """SQS fails, or cannot be reached."""


class QueueRefused(QueueError):
    """The queue does not exist, we have no permission to use it, or it does not accept what we send."""

    disposition = PERMANENT


class DelayRefused(QueueError):
    """The message would be hidden for more than twelve hours in all. It is shown when its present timeout ends."""


class NoQueueUsable(QueueError):
    """None of several configured queues works at the start. `reasons`: of each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n  ".join(["none of the queues works:", *reasons]))
        self.reasons = reasons


class ReceiptLost(QueueError):
    """The receipt is no longer valid: the message now belongs to another consumer."""


class LedgerError(JibeError):
    """The ledger cannot be read or written."""


class ComparisonError(JibeError):
    """There is nothing to compare, or the inventory cannot be used."""

    disposition = PERMANENT


class NotMapped(JibeError):
    """Access Anywhere does not show the bucket, or the prefix, that an operator asks for."""

    disposition = PERMANENT

    @classmethod
    def of(cls, bucket: str, prefix: str) -> Self:
        """The error with its remedy."""
        return cls(
            f"s3://{bucket}/{prefix} is not shown by Access Anywhere, as far as jibe-sqs knows: check the spelling, add the "
            "bucket to `buckets` in the settings, or add it to a provider of Access Anywhere if `buckets` is not set"
        )


class ControlError(JibeError):
    """The running service does not answer at its control socket, or its answer cannot be read."""


class SecretUnavailable(JibeError):
    """A secret cannot be read from where its reference says that it is kept. The text contains no part of it."""


class SettingsError(JibeError):
    """The configuration is wrong. `problems` has a line for each mistake.

    `in_settings`: the mistakes are in values of settings, not in a file, a variable of AWS or a store.
    `is_incomplete`: a required setting is missing.
    """

    disposition = PERMANENT

    def __init__(self, problems: list[str], *, in_settings: bool = False, is_incomplete: bool = False) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.in_settings = in_settings
        self.is_incomplete = is_incomplete


_Error = TypeVar("_Error", bound=BaseException)


def without_frames(error: _Error) -> _Error:
    """The same error without its traceback and its causes. For an error that is kept while something else is awaited.

    A traceback keeps the variables of all its functions, such as the text of a file or the body of an answer.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
