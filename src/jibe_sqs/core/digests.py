"""CloudTrail's digests: what they say of log files, and whether it is CloudTrail that says it.

Each hour, for each region, CloudTrail writes a digest: the log files that it delivered in that hour, with the SHA-256 of each
one's text. It signs the digest, and puts the signature beside it, in the object's metadata. Each digest holds the hash and
the signature of the one before it, so none can be taken out of the middle unnoticed; and the name of its own place, so
none can stand elsewhere. All hashes are of decompressed text, all of it in hex.

A check of one log file needs its digest and the key's public half, not the chain: that is for finding out what is gone.

Sources: CloudTrail User Guide, "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file
integrity validation".
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from jibe_sqs.core.errors import DigestInvalid, LogError, LogTampered
from jibe_sqs.core.event_times import iso_time
from jibe_sqs.core.formats.decompressed import Decompressed

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a digest's text: some 150,000 log files in one hour."""
SIGNED_WITH: Final = "SHA256withRSA"
HASHED_WITH: Final = "SHA-256"
CLOUDTRAILS_FIRST_YEAR: Final = 2013
SLACK: Final = timedelta(minutes=5)
"""By which a log file's name, which tells minutes, may be later than the end of the digest that lists it."""

_BASE: Final = r"(?P<base>(?:.*/)?AWSLogs/(?:o-[a-z0-9]+/)?(?P<account>\d{12})/)"
_DIGEST: Final = re.compile(
    _BASE + r"CloudTrail-Digest/(?P<region>[^/]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail-Digest_(?P=region)_(?P<trail>[^/]+)_(?P<home>[a-z0-9-]+)_"
    r"(?P<end>\d{8}T\d{6}Z)(?P<backfill>_backfill)?\.json\.gz",
    re.DOTALL,
)
_LOG: Final = re.compile(
    _BASE + r"CloudTrail/(?P<region>[^/]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail_(?P=region)_(?P<time>\d{8}T\d{4}(?:\d\d)?Z)(?:_[^/]*)?\.json(?:\.gz)?",
    re.DOTALL,
)


class Fault(StrEnum):
    """Why a digest proves nothing. A closed list; each is a word of the report."""

    MALFORMED = "malformed"
    MOVED = "moved"
    """It stands elsewhere than where CloudTrail put it: another bucket, another key."""
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    """CloudTrail has no such key in that region at that time."""
    SIGNATURE = "signature"
    PREVIOUS_HASH = "previous-hash"
    """The digest after it tells of another content."""
    PREVIOUS_SIGNATURE = "previous-signature"
    """The digest after it tells of another signature."""


class DigestName(msgspec.Struct, frozen=True):
    """What a digest's key tells."""

    base: str
    """Up to and with the account and its slash."""
    account: str
    region: str
    trail: str
    home: str
    """The trail's home region."""
    end: datetime
    backfill: bool
    """It tells of log files that an earlier digest left out: CloudTrail was late with them."""

    @property
    def chain(self) -> tuple[str, str, str, str, bool]:
        """What it has in common with the digest before it."""
        return (self.base, self.region, self.trail, self.home, self.backfill)


class LogName(msgspec.Struct, frozen=True):
    """What a log file's key tells. `time`: of its delivery, cut to the minute."""

    base: str
    account: str
    region: str
    time: datetime


class ListedLog(msgspec.Struct, frozen=True, rename="camel"):
    """A log file as a digest lists it."""

    s3_bucket: str
    s3_object: str
    hash_value: str
    hash_algorithm: str = HASHED_WITH


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    digest_start_time: str
    digest_end_time: str
    digest_s3_bucket: str
    digest_s3_object: str
    digest_public_key_fingerprint: str
    previous_digest_signature: str | None
    log_files: list[ListedLog]
    digest_signature_algorithm: str = SIGNED_WITH
    previous_digest_s3_bucket: str | None = None
    previous_digest_s3_object: str | None = None
    previous_digest_hash_value: str | None = None
    previous_digest_hash_algorithm: str | None = None


class Previous(msgspec.Struct, frozen=True):
    """What a digest tells of the one before it."""

    bucket: str
    key: str
    sha256: str
    signature: str


class Digest(msgspec.Struct, frozen=True):
    """A digest as it was found. Nothing in it is to be believed before `check_signature`."""

    bucket: str
    key: str
    name: DigestName
    start: datetime
    end: datetime
    logs: dict[tuple[str, str], str]
    """(bucket, key) -> SHA-256 of the log's text."""
    previous: Previous | None
    """None for the first of a chain."""
    fingerprint: str
    """Of the public key."""
    sha256: str
    """Of its own text."""
    signature: str
    signed: bytes
    """What the signature is of."""
    written: datetime
    """About when: its key was valid then."""


_wire: Final = msgspec.json.Decoder(_Wire)


def digest_name(key: str) -> DigestName | None:
    """None if the key is not of a digest."""
    found = _DIGEST.fullmatch(key)
    end = _compact(found["end"]) if found else None
    if found is None or end is None:
        return None
    return DigestName(
        found["base"],
        found["account"],
        found["region"],
        found["trail"],
        found["home"],
        end,
        backfill=found["backfill"] is not None,
    )


def log_name(key: str) -> LogName | None:
    """None if the key is not as CloudTrail names log files."""
    found = _LOG.fullmatch(key)
    time = _compact(found["time"]) if found else None
    if found is None or time is None:
        return None
    return LogName(found["base"], found["account"], found["region"], time)


def digest_folders(base: str, region: str, start: datetime, end: datetime) -> Iterator[str]:
    """The prefixes of all keys of digests that end between those times, oldest first. `base` as in a name."""
    return _folders(f"{base}CloudTrail-Digest/{region}", start, end)


def log_folders(base: str, region: str, start: datetime, end: datetime) -> Iterator[str]:
    """The prefixes of all keys of log files that were delivered between those times, oldest first."""
    return _folders(f"{base}CloudTrail/{region}", start, end)


def search_folders(log: LogName, forward: timedelta) -> list[str]:
    """Where the digests are that can list this log file: those that end up to `forward` after its delivery."""
    return list(digest_folders(log.base, log.region, log.time - SLACK, log.time + forward))


def candidates(log: LogName, keys: Iterable[str], forward: timedelta) -> list[str]:
    """Of these keys, the digests that can list this log file, the likeliest first.

    That is the one whose hour holds the delivery; but CloudTrail may list a file an hour or more later, or in a backfill.
    """
    found = []
    for key in keys:
        name = digest_name(key)
        if (
            name is not None
            and (name.base, name.region) == (log.base, log.region)
            and log.time - SLACK <= name.end <= log.time + forward
        ):
            found.append((name.end < log.time, name.end, name.backfill, key))
    return [key for *_, key in sorted(found)]


def read_digest(bucket: str, key: str, data: bytes, metadata: Mapping[str, str]) -> Digest:
    """Read the object at `bucket` and `key`. `metadata`: its user metadata. Raises `DigestInvalid`."""
    where = f"s3://{bucket}/{key}"
    name = digest_name(key)
    if name is None:
        raise DigestInvalid(f"{where} is not named as a digest is", fault=Fault.MALFORMED)
    text = _text(where, data)
    try:
        wire = _wire.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DigestInvalid(f"{where} is no digest: {error}", fault=Fault.MALFORMED) from error
    if (wire.digest_s3_bucket, wire.digest_s3_object) != (bucket, key):
        raise DigestInvalid(
            f"{where} was moved: CloudTrail wrote it to s3://{wire.digest_s3_bucket}/{wire.digest_s3_object}",
            fault=Fault.MOVED,
        )
    sha256 = hashlib.sha256(text).hexdigest()
    end = _time(where, wire.digest_end_time)
    return Digest(
        bucket=bucket,
        key=key,
        name=name,
        start=_time(where, wire.digest_start_time),
        end=end,
        logs=_logs(where, wire),
        previous=_previous(where, wire),
        fingerprint=wire.digest_public_key_fingerprint,
        sha256=sha256,
        signature=_signature(where, wire, metadata),
        signed=signed_text(wire.digest_end_time, bucket, key, sha256, wire.previous_digest_signature),
        written=_written(where, name, metadata) or end,
    )


def signed_text(end: str, bucket: str, key: str, sha256: str, previous_signature: str | None) -> bytes:
    """What CloudTrail signs. `end` as the digest spells it."""
    # Where there is none, it is Java's word for nothing.
    before = "null" if previous_signature is None else previous_signature
    return f"{end}\n{bucket}/{key}\n{sha256}\n{before}".encode()


def public_key(der: bytes) -> RSAPublicKey | None:
    """The key that CloudTrail's `ListPublicKeys` gives: DER, of PKCS #1. None if it is no such key."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def check_signature(digest: Digest, key: RSAPublicKey) -> None:
    """Whether the holder of that key signed this digest. Raises `DigestInvalid`."""
    try:
        key.verify(bytes.fromhex(digest.signature), digest.signed, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        # Without the cause: what a failed check says of the key is nobody's business.
        raise DigestInvalid(
            f"s3://{digest.bucket}/{digest.key}: the signature is not of this content", fault=Fault.SIGNATURE
        ) from None


def check_previous(digest: Digest, after: Digest) -> None:
    """Whether `digest` is what the one after it, known to be good, says came before it. Raises `DigestInvalid`."""
    known = after.previous
    where, other = f"s3://{digest.bucket}/{digest.key}", after.key.rpartition("/")[2]
    if known is None or (known.bucket, known.key) != (digest.bucket, digest.key):
        raise ValueError(f"{other} does not name {where}")
    if known.sha256.lower() != digest.sha256:
        raise DigestInvalid(f"{where} is not what {other} knows: another hash", fault=Fault.PREVIOUS_HASH)
    if known.signature.lower() != digest.signature.lower():
        raise DigestInvalid(f"{where} is not what {other} knows: another signature", fault=Fault.PREVIOUS_SIGNATURE)


def check_log(digest: Digest, bucket: str, key: str, sha256: str) -> bool:
    """Whether the digest, known to be good, lists that log file; raises `LogTampered` if it does with another hash."""
    listed = digest.logs.get((bucket, key))
    if listed is None:
        return False
    if listed.lower() != sha256.lower():
        raise LogTampered(
            f"s3://{bucket}/{key} is not what CloudTrail delivered: its SHA-256 is {sha256}, "
            f"and {digest.key.rpartition('/')[2]} says {listed}"
        )
    return True


class LogHash:
    """SHA-256 of a log's text, from the chunks as stored. Whoever decompresses anyway has `hashlib.sha256` instead.

    Both calls raise `LogError`s, as `Decompressed` does.
    """

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes of text."""
        self._text = Decompressed(limit=limit)
        self._hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the object."""
        for block in self._text.feed(chunk):
            self._hash.update(block)

    def finish(self) -> str:
        """In hex."""
        for block in self._text.finish():
            self._hash.update(block)
        return self._hash.hexdigest()


def _text(where: str, data: bytes) -> bytes:
    decompressed = Decompressed(limit=LARGEST)
    try:
        return b"".join((*decompressed.feed(data), *decompressed.finish()))
    except LogError as error:
        raise DigestInvalid(f"{where}: {error}", fault=Fault.MALFORMED) from error


def _logs(where: str, wire: _Wire) -> dict[tuple[str, str], str]:
    for log in wire.log_files:
        if log.hash_algorithm != HASHED_WITH:
            raise DigestInvalid(f"{where} hashes with {log.hash_algorithm!r}", fault=Fault.MALFORMED)
    return {(log.s3_bucket, log.s3_object): log.hash_value for log in wire.log_files}


def _previous(where: str, wire: _Wire) -> Previous | None:
    told = (
        wire.previous_digest_s3_bucket,
        wire.previous_digest_s3_object,
        wire.previous_digest_hash_value,
        wire.previous_digest_signature,
    )
    bucket, key, sha256, signature = told
    if bucket is None or key is None or sha256 is None or signature is None:
        if any(told):
            raise DigestInvalid(f"{where} tells of the digest before it only in part", fault=Fault.MALFORMED)
        return None
    if wire.previous_digest_hash_algorithm not in (None, HASHED_WITH):
        raise DigestInvalid(f"{where} hashes with {wire.previous_digest_hash_algorithm!r}", fault=Fault.MALFORMED)
    return Previous(bucket, key, sha256, signature)


def _signature(where: str, wire: _Wire, metadata: Mapping[str, str]) -> str:
    told = {name.lower(): value for name, value in metadata.items()}
    signature = told.get("signature")
    if not signature:
        raise DigestInvalid(f"{where} has no signature in its metadata", fault=Fault.UNSIGNED)
    for algorithm in (told.get("signature-algorithm", SIGNED_WITH), wire.digest_signature_algorithm):
        if algorithm != SIGNED_WITH:
            raise DigestInvalid(f"{where} is signed with {algorithm!r}, not {SIGNED_WITH}", fault=Fault.SIGNATURE)
    return signature


def _written(where: str, name: DigestName, metadata: Mapping[str, str]) -> datetime | None:
    """A backfill is signed when it is written, which is long after the end of its hour."""
    told = {name.lower(): value for name, value in metadata.items()}
    generated = told.get("backfill-generation-timestamp")
    return _time(where, generated) if name.backfill and generated else None


def _time(where: str, text: str) -> datetime:
    try:
        time = iso_time(text)
    except ValueError as error:
        raise DigestInvalid(f"{where}: no time: {text!r}", fault=Fault.MALFORMED) from error
    if not CLOUDTRAILS_FIRST_YEAR <= time.year < 9999:
        # Nobody has signed it yet, and others reckon with it.
        raise DigestInvalid(f"{where}: {text} is no time of CloudTrail's", fault=Fault.MALFORMED)
    return time


def _compact(text: str) -> datetime | None:
    """The time in a name: `20150817T150131Z`, or to the minute."""
    try:
        time = iso_time(text)
    except ValueError:
        return None
    return time if CLOUDTRAILS_FIRST_YEAR <= time.year < 9999 else None


def _folders(of: str, start: datetime, end: datetime) -> Iterator[str]:
    day = start.astimezone(UTC).date()
    while day <= end.astimezone(UTC).date():
        yield f"{of}/{day:%Y/%m/%d}/"
        day += timedelta(days=1)
