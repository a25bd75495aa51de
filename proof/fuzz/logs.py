"""The targets for log files."""

import itertools
import zlib
from functools import partial
from typing import Final, NamedTuple

from jibe_sqs.core.errors import LogError
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Record
from jibe_sqs.core.plan import Plan
from proof.fuzz.compression import MAGIC
from proof.fuzz.promises import DECISIONS, check_peak, check_record, chunks_of, cut_of, promise, stretch

LIMITS: Final = Limits(
    compressed_size=64 * 1024, decompressed_size=256 * 1024, record_size=1024, records=500, key_length=300
)
"""Small, so that inputs of a few kilobytes reach them."""
LARGE_LIMITS: Final = Limits(record_size=64 * 1024, decompressed_size=64 * 1024 * 1024)
"""For stretched inputs."""


class Outcome(NamedTuple):
    """What reading gave. `error`: the name of its class, or empty. `bad`: the number of skipped records."""

    records: list[Record]
    error: str
    bad: int


def log(format_: Format, data: bytes) -> None:
    """A log file of this format gives good records or a `LogError`, and the same wherever it is cut."""
    whole, cut = _read(format_, data, len(data)), _read(format_, data, cut_of(data))
    if whole.error or cut.error:
        alike = whole.error == cut.error or (bool(whole.error and cut.error) and _has_two_faults(data, whole, cut))
        promise(alike, f"whole: {whole.error or 'read'}; cut at {cut_of(data)}: {cut.error or 'read'}")
    else:
        promise(whole == cut, f"whole: {whole}; cut at {cut_of(data)}: {cut}")
    for record in whole.records:
        promise(len(record.key) <= LIMITS.key_length, "a key longer than the limit")
        check_record(record)
    if stretched := stretch(data):
        check_peak(partial(_read_and_forget, format_, stretched))


def _has_two_faults(data: bytes, *outcomes: Outcome) -> bool:
    """Whether the data has two faults, and the cut decides which of them is found first.

    An example: the first twenty records are bad, which means another format, and a later record is too large.
    """
    errors = {outcome.error for outcome in outcomes}
    return data.startswith(MAGIC) or errors == {"LogLimitExceeded", "LogMalformed"}


def _read(format_: Format, data: bytes, at: int) -> Outcome:
    reader = LogReader("", LIMITS, configured=format_, on_bad_record="skip" if zlib.crc32(data) & 8 else "reject")
    records: list[Record] = []
    error = ""
    try:
        for chunk in (data[:at], data[at:]):
            records += itertools.chain.from_iterable(reader.feed(chunk))
        records += itertools.chain.from_iterable(reader.finish())
    except LogError as found:
        str(found).encode()
        error = type(found).__name__
    promise(len(reader.bad.first) <= 5, "more bad records kept than the limit")
    promise(error != "" or len(records) <= LIMITS.records, "more records than the limit")
    return Outcome(records, error, reader.bad.count)


def _read_and_forget(format_: Format, data: bytes) -> None:
    reader = LogReader("", LARGE_LIMITS, configured=format_, on_bad_record="skip")
    plan = Plan()
    try:
        for chunk in chunks_of(data):
            for records in reader.feed(chunk):
                for record in records:
                    plan.add(record, DECISIONS.decide(record))
        for _ in reader.finish():
            pass
    except LogError:
        pass
