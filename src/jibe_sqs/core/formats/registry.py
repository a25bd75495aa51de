"""The log formats that we read: one row for each.

A log file's format is decided by its key (`format_of`), else by the configuration, else by the first bytes of its text
(`format_of_text`). To add a format, write a parser module and add a row: docs/how-to/add-a-format.md.

Sources: CloudTrail User Guide, "Finding your log files"; S3 User Guide, "Log object key format"; Lyve Cloud, "S3 API
audit log".
"""

import re
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import msgspec

from jibe_sqs.core.formats.access_log import AccessLog
from jibe_sqs.core.formats.audit_log import AuditLog
from jibe_sqs.core.formats.bad_records import BadRecords, OnBadRecord
from jibe_sqs.core.formats.cloudtrail import CloudTrailLog
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import GiB, Limits
from jibe_sqs.core.log_names import ACCOUNT, TIMESTAMP
from jibe_sqs.core.model import Record

BEGINNING_SIZE: Final = 4096
"""Bytes of text that `format_of_text` looks at."""


class Parser(Protocol):
    """Parses the decompressed text of one log file. All methods raise `LogError`s.

    Either `feed` the text in order and call `finish`, or read it `whole`.
    """

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""

    def finish(self) -> list[Record]:
        """The records that were still incomplete. Raises an error if the file cannot end here."""

    def whole(self, text: bytes) -> list[Record]:
        """The records of a text that is the whole file: the same as from `feed` and `finish`."""


class KeyPattern(NamedTuple):
    """Object keys of one format. `pattern` is searched for in the key. `shown` describes it in docs/reference/formats.md."""

    pattern: re.Pattern[str]
    shown: str


class Rank(IntEnum):
    """How specific a beginning is. A lower rank is tried first. Beginnings of the same rank exclude each other."""

    SIGNATURE = 0
    """The first few bytes identify the format."""
    FIELDS = 1
    """JSON. Field names within the first `BEGINNING_SIZE` bytes identify the format."""
    ANY_JSON = 2
    """JSON that no other format claims."""


class Beginning(NamedTuple):
    """First bytes of one format. `pattern` must match at the start of the text. `shown` is for docs/reference/formats.md."""

    rank: Rank
    pattern: re.Pattern[bytes]
    shown: str


class FormatSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `FORMATS`: how to recognise and parse a format, and its defaults."""

    parser: Callable[[Limits, BadRecords, bool], Parser]
    """The last argument: whether records of reads need their caller."""
    keys: tuple[KeyPattern, ...] = ()
    beginnings: tuple[Beginning, ...] = ()
    on_bad_record: OnBadRecord
    """The default of the setting `logs[].on_bad_record`."""
    on_bad_record_reason: str
    """Why this is the default. For docs/reference/formats.md."""
    decompressed_size: int
    """The default of the setting `limits.decompressed_size`, in bytes."""


# The beginning of JSON. A byte order mark, white space, record separators (RS) and the bracket of an array may come first.
_JSON: Final = rb"(?:\xef\xbb\xbf)?[\s\x1e]*(?:\[\s*)?\{"
_AUDIT_FIELD: Final = rb'.*?"(?:auditEntry|api)"\s*:'
_RECORDS_FIRST: Final = rb'(?:\xef\xbb\xbf)?\s*\{\s*"Records"\s*:'
_ACCESS_LOG_FIELDS: Final = (
    rb"(?is:" + _JSON + rb"(?!" + _AUDIT_FIELD + rb')(?=.*?\\?"operation\\?"\s*:)'
    rb'(?=.*?\\?"(?:source)?[-_ ]?bucket[-_ ]?(?:name|arn)?\\?"\s*:))'
)
_RECORDS_LATER: Final = (
    rb"(?!" + _ACCESS_LOG_FIELDS + rb")"
    rb"(?s:(?:\xef\xbb\xbf)?\s*\{(?!" + _AUDIT_FIELD + rb').*?"Records"\s*:\s*\[)'
)
_ACCESS_LOG_LINE: Final = rb"(?!" + _JSON + rb")\S+[ \t]+\S+[ \t]+\[\d\d/[A-Z][a-z]{2}/\d{4}:"

FORMATS: Final[dict[Format, FormatSpec]] = {
    Format.CLOUDTRAIL: FormatSpec(
        parser=CloudTrailLog,
        keys=(
            KeyPattern(
                re.compile(rf"(?:^|/){ACCOUNT}/CloudTrail/[^/]+/\d{{4}}/\d\d/\d\d/[^/]+\.json(?:\.gz)?\Z"),
                "`…AWSLogs/ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/….json.gz`",
            ),
        ),
        beginnings=(
            Beginning(Rank.SIGNATURE, re.compile(_RECORDS_FIRST), '`{"Records":`'),
            Beginning(Rank.FIELDS, re.compile(_RECORDS_LATER), '`{` with `"Records": [` after other fields'),
        ),
        on_bad_record="reject",
        on_bad_record_reason="AWS hardly ever writes one: a person should look at it",
        decompressed_size=2 * GiB,  # AWS writes files of up to 50 MB, compressed. They expand about tenfold.
    ),
    Format.AUDIT_LOG: FormatSpec(
        parser=AuditLog,
        keys=(
            KeyPattern(
                re.compile(rf"(?:^|/)S3-[^/]+-{TIMESTAMP}\.gz\Z"), "`S3-BUCKET-YYYY-MM-DD-hh-mm-ss.gz` (Lyve Cloud)"
            ),
        ),
        beginnings=(Beginning(Rank.ANY_JSON, re.compile(_JSON), "`{`"),),
        on_bad_record="skip",
        on_bad_record_reason="a line may be cut off or garbled, and the others are good",
        decompressed_size=16 * GiB,  # Lyve Cloud writes files of up to 500 MB, compressed. They expand about tenfold.
    ),
    Format.ACCESS_LOG: FormatSpec(
        parser=AccessLog,
        keys=(
            KeyPattern(
                re.compile(rf"(?:^|[^0-9]){TIMESTAMP}-[0-9A-F]{{16}}\Z"),
                "`…YYYY-MM-DD-hh-mm-ss-UNIQUE` (16 digits or capitals A to F)",
            ),
            # CloudWatch Logs delivers the log type `S3_SERVER_ACCESS_LOGS`. The folder's name is not documented: it is
            # inferred from the names of other deliveries.
            KeyPattern(
                re.compile(rf"(?:^|/){ACCOUNT}/[^/]*S3[-_]?(?:Server)?[-_]?Access[-_]?Logs?", re.IGNORECASE),
                "`…AWSLogs/ACCOUNT/S3_SERVER_ACCESS_LOGS…`",
            ),
        ),
        beginnings=(
            Beginning(Rank.SIGNATURE, re.compile(_ACCESS_LOG_LINE), "`OWNER BUCKET [DD/Mon/YYYY:`"),
            # Parquet is recognised so that the parser can refuse it with the remedy.
            Beginning(Rank.SIGNATURE, re.compile(rb"PAR1"), "`PAR1` (Parquet, refused)"),
            Beginning(
                Rank.FIELDS,
                re.compile(_ACCESS_LOG_FIELDS),
                "`{`, with `operation` and `bucket_name` (or the like) in the first object",
            ),
        ),
        on_bad_record="skip",
        on_bad_record_reason="nothing in it is escaped, and delivery is best effort",
        decompressed_size=16 * GiB,
    ),
}

MAX_DECOMPRESSED_SIZE: Final = max(spec.decompressed_size for spec in FORMATS.values())
"""Bytes. The limit for a file whose format is not recognised yet."""

_MAX_KEY_LENGTH: Final = 1024
_KEYS: Final = [(each.pattern, format_) for format_, spec in FORMATS.items() for each in spec.keys]
_BEGINNINGS: Final = sorted(
    ((each.rank, format_, each.pattern) for format_, spec in FORMATS.items() for each in spec.beginnings),
    key=lambda beginning: beginning[0],
)


def format_of(key: str) -> Format | None:
    """The format of a log file with this object key, under any prefix. None if the key does not show it."""
    # The key of one file is asked for several times. The cache must not keep keys that are too long for every store.
    return _known_format_of(key) if len(key) <= _MAX_KEY_LENGTH else _format_of(key)


def _format_of(key: str) -> Format | None:
    for pattern, format_ in _KEYS:
        if pattern.search(key):
            return format_
    return None


_known_format_of = lru_cache(maxsize=1024)(_format_of)


def format_of_text(text: bytes) -> Format | None:
    """The format of a file by the beginning of its decompressed text. None if no format has such a beginning.

    Only the first `BEGINNING_SIZE` bytes count, so that the answer does not depend on how the text was cut.
    """
    return next((format_ for _, format_, pattern in _BEGINNINGS if pattern.match(text, 0, BEGINNING_SIZE)), None)
