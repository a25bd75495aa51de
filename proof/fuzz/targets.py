"""What each target does with one input, and what must hold of the answer. Whatever else is raised is a finding.

Of all that reads in chunks: the whole input at once, and cut in two at a place that the input decides, give the same
records, or the same class of error. Now and then an input is stretched, a part of it repeated some megabytes long, and
the memory that reading it took is held against a limit which doesn't know the length.
"""

import gzip
import itertools
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import orjson
from backports import zstd
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from jibe_sqs.core import digest_checks, digest_names
from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, announcements
from jibe_sqs.core.decisions import Decisions, Plan
from jibe_sqs.core.digests import read_digest
from jibe_sqs.core.errors import AnnouncementError, LogError, VerificationError
from jibe_sqs.core.formats.decompressed import BLOCK, Decompressed
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import no_log
from jibe_sqs.core.model import LogFile, Nothing, ObjectEvent, Record, Unchanged, Unreadable
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources

LIMITS: Final = Limits(
    compressed_size=64 * 1024, decompressed_size=256 * 1024, record_size=1024, records=500, key_length=300
)
"""Small: inputs of a few kilobytes are to reach them."""

STRETCHED: Final = 12 * 1024 * 1024
"""Bytes of a stretched input, at least, if it isn't compressed."""
ONE_IN: Final = 4096
"""Inputs, of which one is stretched: that takes as long as hundreds of others."""
LARGE_LIMITS: Final = Limits(record_size=64 * 1024, decompressed_size=64 * 1024 * 1024)
PEAK: Final = 8 * 1024 * 1024
"""Bytes held at once for a stretched input, by Python's count: a few blocks, each all of tiny lines, and the last ids."""

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
MAGIC: Final = (GZIP, ZSTD)
SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Of zstd's frames that hold no data, which we refuse."""

LOGS: Final = (
    LogSource("logs", "AWSLogs/", verify=True),
    LogSource("logs", "lyve/", Format.AUDIT_LOG),
    LogSource("audit"),
)
RULES: Final = (
    NotificationRule(
        when=Expression("events"),
        items=Expression("events[]"),
        bucket=Expression("bucketName"),
        key=Expression("join('/', [objectName])"),
        event=Expression("eventType"),
        time=Expression("eventTimestamp"),
    ),
    NotificationRule(when=Expression("length(@) > `1`"), bucket=Expression("*|[0]"), key=Expression("keys(@)[1]")),
)
SOURCES: Final = (
    Sources(),
    Sources(LOGS),
    Sources(LOGS, {"aws:s3": "raw", "eventbridge": "url", "ceph:s3": "url"}, RULES),
    Sources((LogSource("*"),), {"*": "url"}),
)
DECISIONS: Final = Decisions()


class Finding(AssertionError):
    """The answer to an input breaks a promise."""


class Outcome(NamedTuple):
    """`error`: the class's name, or none. `bad`: records that were skipped."""

    records: list[Record]
    error: str
    bad: int


def announcement(data: bytes) -> None:
    """A message's body: announcements, the same within an SNS envelope, or an `AnnouncementError`."""
    body = data.decode("utf-8", "surrogateescape")
    for sources in SOURCES:
        found = _announced(body, sources)
        if isinstance(found, list):
            # A record may have two readings, or be an event and its error.
            promise(len(found) <= 2 * MAX_ANNOUNCEMENTS, "more announcements than the limit")
        if body.isprintable() and "TopicArn" not in body:
            envelope = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:t", "Message": body}
            wrapped = _announced(orjson.dumps(envelope).decode(), sources)
            promise(_comparable(wrapped) == _comparable(found), f"in an envelope it is {wrapped}, and bare {found}")


def _comparable(found: list[object] | str) -> object:
    """Errors are equal only to themselves."""
    if isinstance(found, str):
        return found
    return [(each.index, repr(each.error)) if isinstance(each, Unreadable) else each for each in found]


def _announced(body: str, sources: Sources) -> list[object] | str:
    try:
        found = announcements(body, sources)
    except AnnouncementError as error:
        str(error).encode()
        return type(error).__name__
    for each in found:
        if isinstance(each, LogFile):
            promise(bool(each.bucket and each.key), "a log file without bucket and key")
            orjson.dumps([each.bucket, each.key, each.version, each.etag])
            promise(each.size is None or type(each.size) is int, f"the size {each.size!r}")
        elif isinstance(each, Nothing):
            orjson.dumps([each.about, each.bucket, each.key])
        elif isinstance(each, Unreadable):
            str(each.error).encode()
            promise(0 <= each.index < MAX_ANNOUNCEMENTS, f"the index {each.index}")
        else:
            sound(each)
    return list(found)


def log(format_: Format, data: bytes) -> None:
    """A log file of that format: sound records, the same however it is cut, or a `LogError`."""
    whole, cut = _read(format_, data, len(data)), _read(format_, data, cut_of(data))
    if whole.error or cut.error:
        alike = whole.error == cut.error or (bool(whole.error and cut.error) and _has_two_faults(data, whole, cut))
        promise(alike, f"whole: {whole.error or 'read'}; cut at {cut_of(data)}: {cut.error or 'read'}")
    else:
        promise(whole == cut, f"cut at {cut_of(data)} it gives other records: {whole}, {cut}")
    for record in whole.records:
        promise(len(record.key) <= LIMITS.key_length, "a key beyond the limit")
        sound(record)
    if stretched := stretch(data):
        check_peak(partial(_read_and_forget, format_, stretched))


def _has_two_faults(data: bytes, *outcomes: Outcome) -> bool:
    """Of twenty bad records, which make a file of another format, and a fault further on, the cut decides which is met."""
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
        for chunk in _chunks(data):
            for records in reader.feed(chunk):
                for record in records:
                    plan.add(record, DECISIONS.decide(record))
        for _ in reader.finish():
            pass
    except LogError:
        pass


def sound(record: object) -> None:
    """A record that everything behind the parsers can deal with: it has a time that people can read, and is text."""
    promise(isinstance(record, ObjectEvent | Unchanged), f"{record!r} is no record")
    if not isinstance(record, ObjectEvent | Unchanged):
        return
    orjson.dumps([record.bucket, record.key, record.event_id, record.name])
    datetime.fromtimestamp(record.time, UTC).isoformat()
    if isinstance(record, ObjectEvent):
        promise(bool(record.bucket), "an event on no bucket")
        promise(bool(record.key) or record.kind.is_unlisted, "an event on no key")
        actor = record.actor
        orjson.dumps([actor.principal, actor.access_key, actor.session_issuer, actor.source_address, actor.user_agent])
    Plan().add(record, DECISIONS.decide(record))


def decompressed(data: bytes) -> None:
    """Compressed data: its text, the same however it is cut, and the same as the reference says; or a `LogError`."""
    whole, error = _decompress(data, len(data))
    for at in (cut_of(data), 1, max(0, len(data) - 1)):
        text, cut_error = _decompress(data, at)
        # Of damage, and of too much text before it, it depends on the cut which is met first.
        alike = cut_error == error or {cut_error, error} == {"LogCorrupt", "LogLimitExceeded"}
        promise(alike, f"whole: {error or 'read'}; cut at {at}: {cut_error or 'read'}")
        promise(text == whole or (error != "" and _is_prefix(text, whole)), f"cut at {at} it gives other text")
    if not error and data.startswith(GZIP):
        promise(whole == gzip.decompress(data), "the standard library decompresses it to something else")
    if data.startswith(ZSTD) and SKIPPABLE not in data:
        reference = _by_zstd(data)
        promise(reference is None or reference == whole or error != "", "zstd decompresses it to something else")
    if stretched := stretch(data):
        check_peak(partial(_decompress_and_forget, stretched))


def _by_zstd(data: bytes) -> bytes | None:
    """In pieces: of a whole frame, libzstd takes some blocks that it refuses so, and no compressor writes."""
    found = []
    try:
        while data:
            frame = zstd.ZstdDecompressor()
            found.append(frame.decompress(data[:5]))
            found.append(frame.decompress(data[5:]))
            if not frame.eof:
                return None
            data = frame.unused_data
    except (zstd.ZstdError, EOFError, MemoryError):
        return None
    return b"".join(found)


def recompressed(data: bytes) -> None:
    """Data, compressed in pieces as the input says: the data again; and a `LogError` where the end is missing."""
    chance = random.Random(zlib.crc32(data))
    kind = chance.choice(("gzip", "zstd"))
    pieces: list[bytes] = []
    rest = data
    while rest and len(pieces) < 5:
        at = chance.randint(1, len(rest))
        pieces.append(rest[:at])
        rest = rest[at:]
    text = b"".join(pieces)
    members = [_member(kind, piece, chance) for piece in pieces] or [_member(kind, b"", chance)]
    stored = members[0] + b"".join(b"\0" * chance.choice((0, 0, 1, 9)) + each for each in members[1:])
    whole, error = _decompress(stored, len(stored))
    promise(not error, f"our own {kind} data is refused: {error}")
    promise(whole == text, "it decompresses to something else")
    short = stored[: chance.randrange(len(stored))]
    for at in (cut_of(short), len(short)):
        part, error = _decompress(short, at)
        promise(_is_prefix(part, text), "the beginning of it decompresses to something else")
        promise(error in ("", "LogTruncated"), f"the beginning of it is {error}")
        promise(error != "" or part != text or len(short) >= len(stored) - len(members[-1]), "its end is not missed")
    broken = bytearray(stored)
    broken[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
    decompressed(bytes(broken))


def _member(kind: str, text: bytes, chance: random.Random) -> bytes:
    if kind == "zstd":
        level, checksum = chance.randint(-5, 9), chance.randint(0, 1)
        parameter = zstd.CompressionParameter
        return zstd.compress(text, options={parameter.compression_level: level, parameter.checksum_flag: checksum})
    flags = chance.choice((0, 0, 0, 31)) & chance.randrange(32) & ~1
    extra = chance.randbytes(chance.choice((0, 3, 300)))
    header = b"\x1f\x8b\x08" + bytes((flags,)) + b"\0\0\0\0\0\xff"
    header += (len(extra).to_bytes(2, "little") + extra) if flags & 4 else b""
    header += b"a-name.json\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    deflate = zlib.compressobj(chance.randint(0, 9), zlib.DEFLATED, -15)
    at = chance.randint(0, len(text))
    body = deflate.compress(text[:at]) + deflate.flush(chance.choice((zlib.Z_SYNC_FLUSH, zlib.Z_NO_FLUSH)))
    body += deflate.compress(text[at:]) + deflate.flush()
    return header + body + zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")


def _decompress(data: bytes, at: int) -> tuple[bytes, str]:
    limit = 256 * 1024
    stream, found = Decompressed(limit=limit), []
    error = ""
    try:
        for chunk in (data[:at], data[at:]):
            for block in stream.feed(chunk):
                promise(len(block) <= BLOCK, f"a block of {len(block)} bytes")
                found.append(block)
        found += stream.finish()
    except LogError as raised:
        str(raised).encode()
        error = type(raised).__name__
    text = b"".join(found)
    promise(len(text) <= limit, "more text than the limit")
    return text, error


def _decompress_and_forget(data: bytes) -> None:
    stream = Decompressed(limit=1024 * 1024 * 1024)
    try:
        for chunk in _chunks(data):
            for _ in stream.feed(chunk):
                pass
        for _ in stream.finish():
            pass
    except LogError:
        pass


PUBLIC_KEY: Final = RSAPublicNumbers(65537, 2**2047 + 2**1024 + 1).public_key()
"""Nobody's: it verifies nothing."""


def digest(data: bytes) -> None:
    """A digest: its key on the first line, its signature on the second, then its text; or a `VerificationError`."""
    first, _, rest = data.partition(b"\n")
    second, _, body = rest.partition(b"\n")
    key, signature = first.decode("utf-8", "replace"), second.decode("utf-8", "replace")
    _name(key)
    digest_checks.public_key(body)
    hashes = {_hashed(body, len(body)), _hashed(body, cut_of(body))}
    alike = len(hashes) == 1 or hashes == {"LogCorrupt", "LogLimitExceeded"}
    promise(alike, f"its hash depends on how it is cut: {hashes}")
    metadata = {"Signature": signature, "backfill-generation-timestamp": signature}
    try:
        found = read_digest("logs", key, body, {} if not signature else metadata)
        for (bucket, name), sha256 in found.logs.items():
            promise(digest_checks.check_log(found, bucket, name, sha256.upper()), "it does not list what it lists")
        promise(not digest_checks.check_log(found, "", "none", ""), "it lists what it does not list")
        if found.previous and (found.previous.bucket, found.previous.key) == (found.bucket, found.key):
            digest_checks.check_previous(found, found)
        digest_checks.check_signature(found, PUBLIC_KEY)
        raise Finding("a signature of nobody's is good")
    except VerificationError as error:
        str(error).encode()


def _name(key: str) -> None:
    format_of(key)
    no_log(key)
    log_name = digest_names.log_name(key)
    if log_name is not None:
        folders = digest_names.search_folders(log_name, timedelta(days=1))
        promise(1 <= len(folders) <= 3, f"{len(folders)} folders to search")
        promise(digest_names.candidates(log_name, [key, ""], timedelta(days=1)) == [], "a log file is a candidate")
    name = digest_names.digest_name(key)
    if name is not None:
        promise(name.end.tzinfo is not None and name.base in key, "a digest's name that its key is not of")
        list(digest_names.digest_folders(name.base, name.region, name.end, name.end))


def _hashed(data: bytes, at: int) -> str:
    hashed = digest_checks.LogHash(limit=64 * 1024)
    try:
        hashed.feed(data[:at])
        hashed.feed(data[at:])
        return hashed.finish()
    except LogError as error:
        return type(error).__name__


def promise(kept: bool, otherwise: str) -> None:
    """Raise a `Finding` if it isn't."""
    if not kept:
        raise Finding(otherwise)


def cut_of(data: bytes) -> int:
    """Where to cut it: anywhere, and always at the same place."""
    return zlib.crc32(data) % (len(data) + 1)


def stretch(data: bytes) -> bytes:
    """The input with a part of it repeated, for a few of them; else nothing."""
    chance = zlib.crc32(data, 1)
    if chance % ONE_IN or not data:
        return b""
    start = (chance >> 8) % len(data)
    end = min(len(data), start + 1 + (chance >> 16) % (len(data) - start))
    return data[:start] + data[start:end] * (STRETCHED // (end - start) + 1) + data[end:]


def check_peak(read: Callable[[], None]) -> None:
    """Hold what it takes to read against the limit."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    promise(peak - before <= PEAK, f"it took {peak - before:,} bytes to read")


def _chunks(data: bytes) -> Iterator[bytes]:
    """As many as can be read in a second: watching the memory takes its time."""
    end = time.monotonic() + 1
    for at in range(0, len(data), 64 * 1024):
        if time.monotonic() > end:
            break
        yield data[at : at + 64 * 1024]


def _is_prefix(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "announcements": announcement,
    **{format_.value: partial(log, format_) for format_ in Format},
    "decompressed": decompressed,
    "recompressed": recompressed,
    "digests": digest,
}
