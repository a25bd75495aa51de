"""The target for CloudTrail's digests."""

from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from jibe_sqs.core import digest_checks, digest_names
from jibe_sqs.core.digests import read_digest
from jibe_sqs.core.errors import LogError, VerificationError
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import no_log
from proof.fuzz.promises import BrokenPromise, cut_of, promise

PUBLIC_KEY: Final = RSAPublicNumbers(65537, 2**2047 + 2**1024 + 1).public_key()
"""A key without a private key: no signature is valid for it."""


def digest(data: bytes) -> None:
    """A digest gives a `VerificationError`, because its signature is never valid here.

    The input: the key on the first line, the signature on the second, then the text.
    """
    first, _, rest = data.partition(b"\n")
    second, _, body = rest.partition(b"\n")
    key, signature = first.decode("utf-8", "replace"), second.decode("utf-8", "replace")
    _check_name(key)
    digest_checks.public_key(body)
    hashes = {_hashed(body, len(body)), _hashed(body, cut_of(body))}
    alike = len(hashes) == 1 or hashes == {"LogCorrupt", "LogLimitExceeded"}
    promise(alike, f"the hash depends on the cut: {hashes}")
    metadata = {"Signature": signature, "backfill-generation-timestamp": signature}
    try:
        found = read_digest("logs", key, body, {} if not signature else metadata)
        for (bucket, name), sha256 in found.logs.items():
            promise(digest_checks.check_log(found, bucket, name, sha256.upper()), "a listed log file is not found")
        promise(not digest_checks.check_log(found, "", "none", ""), "a log file that is not listed is found")
        if found.previous and (found.previous.bucket, found.previous.key) == (found.bucket, found.key):
            digest_checks.check_previous(found, found)
        digest_checks.check_signature(found, PUBLIC_KEY)
        raise BrokenPromise("a signature without a private key is valid")
    except VerificationError as error:
        str(error).encode()


def _check_name(key: str) -> None:
    format_of(key)
    no_log(key)
    log_name = digest_names.log_name(key)
    if log_name is not None:
        folders = digest_names.search_folders(log_name, timedelta(days=1))
        promise(1 <= len(folders) <= 3, f"{len(folders)} folders to search")
        promise(digest_names.candidates(log_name, [key, ""], timedelta(days=1)) == [], "a log file is a candidate")
    name = digest_names.digest_name(key)
    if name is not None:
        promise(name.end.tzinfo is not None and name.base in key, "the name of a digest does not fit its key")
        list(digest_names.digest_folders(name.base, name.region, name.end, name.end))


def _hashed(data: bytes, at: int) -> str:
    hashed = digest_checks.LogHash(limit=64 * 1024)
    try:
        hashed.feed(data[:at])
        hashed.feed(data[at:])
        return hashed.finish()
    except LogError as error:
        return type(error).__name__
