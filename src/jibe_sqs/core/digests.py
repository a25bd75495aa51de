"""CloudTrail's digests, parsed.

Each hour, for each region, CloudTrail writes a digest: a list of the log files that it delivered in that hour, with the
SHA-256 of each file's text. It signs the digest and stores the signature in the object's metadata. Each digest contains
the hash and the signature of the digest before it, so a digest cannot be removed from the chain unnoticed. It also
contains its own bucket and key, so it cannot be moved. All hashes are of decompressed text, in hex.

Parsing proves nothing: see `digest_checks`.

Sources: CloudTrail User Guide, "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file
integrity validation".
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.core.digest_names import DigestName, digest_name, is_plausible
from jibe_sqs.core.errors import DigestInvalid, LogError
from jibe_sqs.core.event_times import iso_time
from jibe_sqs.core.formats.decompressed import Decompressed
from jibe_sqs.core.model import LogFile

MAX_DIGEST_SIZE: Final = 64 * 1024 * 1024
"""Bytes of a digest's text: about 150,000 log files in one hour."""
SIGNATURE_ALGORITHM: Final = "SHA256withRSA"
HASH_ALGORITHM: Final = "SHA-256"


class Fault(StrEnum):
    """Why a digest proves nothing. A closed list; each is a word in the report of `verify`."""

    MALFORMED = "malformed"
    MOVED = "moved"
    """It is not in the bucket, or not under the key, where CloudTrail put it."""
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    """CloudTrail had no such key in that region at that time."""
    SIGNATURE = "signature"
    PREVIOUS_HASH = "previous-hash"
    """The digest after it contains another hash for it."""
    PREVIOUS_SIGNATURE = "previous-signature"
    """The digest after it contains another signature for it."""


class ListedLog(msgspec.Struct, frozen=True, rename="camel"):
    """A log file in a digest's list."""

    s3_bucket: str
    s3_object: str
    hash_value: str
    hash_algorithm: str = HASH_ALGORITHM


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    digest_start_time: str
    digest_end_time: str
    digest_s3_bucket: str
    digest_s3_object: str
    digest_public_key_fingerprint: str
    previous_digest_signature: str | None
    log_files: list[ListedLog]
    digest_signature_algorithm: str = SIGNATURE_ALGORITHM
    previous_digest_s3_bucket: str | None = None
    previous_digest_s3_object: str | None = None
    previous_digest_hash_value: str | None = None
    previous_digest_hash_algorithm: str | None = None


class Previous(msgspec.Struct, frozen=True):
    """What a digest contains about the digest before it."""

    bucket: str
    key: str
    sha256: str
    signature: str


class Digest(msgspec.Struct, frozen=True):
    """A digest as it was found. Do not trust anything in it before `check_signature`."""

    bucket: str
    key: str
    name: DigestName
    start: datetime
    end: datetime
    logs: dict[tuple[str, str], str]
    """(bucket, key) -> SHA-256 of the log's text."""
    previous: Previous | None
    """None for the first digest of a chain."""
    fingerprint: str
    """Of the public key."""
    sha256: str
    """Of the digest's own text."""
    signature: str
    signed: bytes
    """The bytes that the signature is of."""
    written: datetime
    """About when it was written. The key that signed it was valid then."""

    def __str__(self) -> str:
        return str(LogFile(self.bucket, self.key))


_wire: Final = msgspec.json.Decoder(_Wire)


def read_digest(bucket: str, key: str, data: bytes, metadata: Mapping[str, str]) -> Digest:
    """Parse the object at `bucket` and `key`. `metadata`: its user metadata. Raises `DigestInvalid`."""
    where = str(LogFile(bucket, key))
    name = digest_name(key)
    if name is None:
        raise DigestInvalid(f"{where} is not named like a digest", fault=Fault.MALFORMED)
    text = _text(where, data)
    try:
        wire = _wire.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DigestInvalid(f"{where} is not a digest: {error}", fault=Fault.MALFORMED) from error
    if (wire.digest_s3_bucket, wire.digest_s3_object) != (bucket, key):
        original = LogFile(wire.digest_s3_bucket, wire.digest_s3_object)
        raise DigestInvalid(f"{where} was moved: CloudTrail wrote it to {original}", fault=Fault.MOVED)
    sha256 = hashlib.sha256(text).hexdigest()
    end = _time(where, wire.digest_end_time)
    properties = {name.lower(): value for name, value in metadata.items()}
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
        signature=_signature(where, wire, properties),
        signed=signed_text(wire.digest_end_time, bucket, key, sha256, wire.previous_digest_signature),
        written=_written(where, name, properties) or end,
    )


def signed_text(end: str, bucket: str, key: str, sha256: str, previous_signature: str | None) -> bytes:
    """The bytes that CloudTrail signs. `end`: the text in the digest, unchanged."""
    # The first digest of a chain has the word `null` in place of a previous signature.
    before = "null" if previous_signature is None else previous_signature
    return f"{end}\n{bucket}/{key}\n{sha256}\n{before}".encode()


def _text(where: str, data: bytes) -> bytes:
    decompressed = Decompressed(limit=MAX_DIGEST_SIZE)
    try:
        return b"".join((*decompressed.feed(data), *decompressed.finish()))
    except LogError as error:
        raise DigestInvalid(f"{where}: {error}", fault=Fault.MALFORMED) from error


def _logs(where: str, wire: _Wire) -> dict[tuple[str, str], str]:
    for log in wire.log_files:
        _check_hash_algorithm(where, log.hash_algorithm)
    return {(log.s3_bucket, log.s3_object): log.hash_value for log in wire.log_files}


def _previous(where: str, wire: _Wire) -> Previous | None:
    fields = (
        wire.previous_digest_s3_bucket,
        wire.previous_digest_s3_object,
        wire.previous_digest_hash_value,
        wire.previous_digest_signature,
    )
    bucket, key, sha256, signature = fields
    if bucket is None or key is None or sha256 is None or signature is None:
        if any(fields):
            raise DigestInvalid(f"{where}: some fields of the previous digest are missing", fault=Fault.MALFORMED)
        return None
    if wire.previous_digest_hash_algorithm is not None:
        _check_hash_algorithm(where, wire.previous_digest_hash_algorithm)
    return Previous(bucket, key, sha256, signature)


def _check_hash_algorithm(where: str, algorithm: str) -> None:
    if algorithm != HASH_ALGORITHM:
        raise DigestInvalid(f"{where}: the unknown hash algorithm {algorithm!r}", fault=Fault.MALFORMED)


def _signature(where: str, wire: _Wire, properties: Mapping[str, str]) -> str:
    signature = properties.get("signature")
    if not signature:
        raise DigestInvalid(f"{where} has no signature in its metadata", fault=Fault.UNSIGNED)
    for algorithm in (properties.get("signature-algorithm", SIGNATURE_ALGORITHM), wire.digest_signature_algorithm):
        if algorithm != SIGNATURE_ALGORITHM:
            raise DigestInvalid(
                f"{where} is signed with {algorithm!r}, not {SIGNATURE_ALGORITHM}", fault=Fault.SIGNATURE
            )
    return signature


def _written(where: str, name: DigestName, properties: Mapping[str, str]) -> datetime | None:
    """When a backfill was signed: it is written long after the end of its hour. None for other digests."""
    generated = properties.get("backfill-generation-timestamp")
    return _time(where, generated) if name.backfill and generated else None


def _time(where: str, text: str) -> datetime:
    try:
        time = iso_time(text)
    except ValueError as error:
        raise DigestInvalid(f"{where}: not a time: {text!r}", fault=Fault.MALFORMED) from error
    if not is_plausible(time):
        # The signature is not checked yet, and callers add hours to this time.
        raise DigestInvalid(f"{where}: CloudTrail cannot have written the time {text}", fault=Fault.MALFORMED)
    return time
