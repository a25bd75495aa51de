"""What a check finds: problems, each with a code, a reason and a remedy; or that something is right."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad a problem is. Notes do not make a check fail."""

    ERROR = "error"
    """Changes are lost or late."""
    WARNING = "warning"
    """Changes may be lost or late, or something costs more than it needs to."""
    NOTE = "note"
    """Not a problem in itself: for example, something could not be checked."""


class Topic(StrEnum):
    """What checks are about, in the order of the report."""

    SETTINGS = "Settings"
    CREDENTIALS = "Credentials"
    QUEUES = "Queues"
    TOPICS = "Topics"
    LOG_BUCKETS = "Log buckets"
    TRAILS = "Trails"
    DATA_BUCKETS = "Data buckets"
    ACCESS_ANYWHERE = "Access Anywhere"
    OWN_WRITES = "Own writes"
    LEDGER = "Ledger and clock"


class Code(StrEnum):
    """The kind of a problem, for programs. docs/how-to/check.md describes each of them."""

    SETTINGS = "settings"
    SECRET_UNREADABLE = "secret-unreadable"  # noqa: S105 - a code
    CANNOT_CHECK = "cannot-check"
    NO_ANSWER = "no-answer"
    CHECK_DEFECT = "check-defect"
    CREDENTIALS = "credentials"

    QUEUE_MISSING = "queue-missing"
    QUEUE_DENIED = "queue-denied"
    QUEUE_REGION = "queue-region"
    QUEUE_POLICY_MISSING = "queue-policy-missing"
    QUEUE_POLICY_OPEN = "queue-policy-open"
    QUEUE_KEY_UNUSABLE = "queue-key-unusable"
    QUEUE_RETENTION_SHORT = "queue-retention-short"
    QUEUE_MESSAGES_OLD = "queue-messages-old"
    VISIBILITY_TIMEOUT_SHORT = "visibility-timeout-short"
    VISIBILITY_TIMEOUT_LONG = "visibility-timeout-long"
    MAX_RECEIVES_LOW = "max-receives-low"
    DEAD_LETTERS_MISSING = "dead-letters-missing"
    DEAD_LETTERS_DENIED = "dead-letters-denied"
    DEAD_LETTERS_RETENTION = "dead-letters-retention"
    DEAD_LETTERS_WAITING = "dead-letters-waiting"

    TOPICS_UNKNOWN = "topics-unknown"
    TOPIC_MISSING = "topic-missing"
    TOPIC_KEY_UNUSABLE = "topic-key-unusable"
    SUBSCRIPTION_MISSING = "subscription-missing"
    SUBSCRIPTION_PENDING = "subscription-pending"
    SUBSCRIPTION_FILTERED = "subscription-filtered"
    SUBSCRIPTION_RAW = "subscription-raw"
    TOPIC_NOT_ADMITTED = "topic-not-admitted"
    TOPIC_REGION_NOT_ADMITTED = "topic-region-not-admitted"

    LOG_BUCKET_MISSING = "log-bucket-missing"
    LOG_BUCKET_DENIED = "log-bucket-denied"
    LOG_BUCKET_REGION = "log-bucket-region"
    LOG_BUCKET_UNREADABLE = "log-bucket-unreadable"
    LOG_FILE_UNREADABLE = "log-file-unreadable"
    LOG_FILE_MALFORMED = "log-file-malformed"
    LOG_FILES_NOT_RECENT = "log-files-not-recent"

    TRAIL_MISSING = "trail-missing"
    TRAIL_NOT_LOGGING = "trail-not-logging"
    TRAIL_DELIVERY_FAILED = "trail-delivery-failed"
    TRAIL_NOTIFICATION_FAILED = "trail-notification-failed"
    TRAIL_WITHOUT_TOPIC = "trail-without-topic"
    TRAIL_WITHOUT_S3_EVENTS = "trail-without-s3-events"
    TRAIL_WITHOUT_S3_EXPRESS = "trail-without-s3-express"
    TRAIL_LOGS_READS = "trail-logs-reads"
    TRAIL_LOGS_LOG_BUCKET = "trail-logs-log-bucket"
    TRAIL_DUPLICATE = "trail-duplicate"

    BUCKET_NOT_LOGGED = "bucket-not-logged"
    BUCKET_MISSING = "bucket-missing"
    BUCKET_NOT_LISTABLE = "bucket-not-listable"
    LIFECYCLE_UNHEARD = "lifecycle-unheard"

    ACCESS_ANYWHERE_DOWN = "access-anywhere-down"
    ACCESS_ANYWHERE_CERTIFICATE = "access-anywhere-certificate"
    ACCESS_ANYWHERE_PLAIN_HTTP = "access-anywhere-plain-http"
    LOGIN_REFUSED = "login-refused"
    ROLE_INSUFFICIENT = "role-insufficient"
    FOLDER_MISSING = "folder-missing"
    REFRESH_FAILED = "refresh-failed"
    NOTHING_SHOWN = "nothing-shown"

    OWN_WRITES_UNSET = "own-writes-unset"
    OWN_WRITES_TOO_BROAD = "own-writes-too-broad"
    OWN_WRITES_INCOMPLETE = "own-writes-incomplete"

    LEDGER_UNUSABLE = "ledger-unusable"
    LEDGER_FULL = "ledger-full"
    LEDGER_IN_MEMORY = "ledger-in-memory"
    CLOCK_WRONG = "clock-wrong"


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong. `subject`: the queue, bucket, folder or setting. `remedy`: what to do."""

    code: Code
    subject: str
    what: str
    remedy: str
    severity: Severity = Severity.ERROR


class Fine(msgspec.Struct, frozen=True):
    """Something that is right, for the table."""

    subject: str
    what: str


Finding = Problem | Fine


def warning(code: Code, subject: str, what: str, remedy: str) -> Problem:
    """A problem that loses nothing by itself."""
    return Problem(code, subject, what, remedy, Severity.WARNING)


def note(code: Code, subject: str, what: str, remedy: str) -> Problem:
    """Something to know, which does not make the check fail."""
    return Problem(code, subject, what, remedy, Severity.NOTE)
