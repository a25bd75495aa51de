"""What proves that a digest, or a log file that it lists, is CloudTrail's.

To check one log file, its digest and the public key are enough. The chain of digests is needed only to find out whether
something is missing.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from jibe_sqs.core.digests import Digest, Fault
from jibe_sqs.core.errors import DigestInvalid, LogTampered
from jibe_sqs.core.formats.decompressed import Decompressed
from jibe_sqs.core.model import LogFile


def public_key(der: bytes) -> RSAPublicKey | None:
    """A key from CloudTrail's `ListPublicKeys`: DER, in the format of PKCS #1. None if it is not an RSA key."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def check_signature(digest: Digest, key: RSAPublicKey) -> None:
    """Check that this key signed the digest. Raises `DigestInvalid`."""
    try:
        key.verify(bytes.fromhex(digest.signature), digest.signed, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        # Without the cause: the details of a failed check must not be shown.
        raise DigestInvalid(f"{digest}: the signature does not match this content", fault=Fault.SIGNATURE) from None


def check_previous(digest: Digest, after: Digest) -> None:
    """Check that `digest` is the one that `after`, a valid digest, names as previous. Raises `DigestInvalid`."""
    known = after.previous
    name_of_after = after.key.rpartition("/")[2]
    if known is None or (known.bucket, known.key) != (digest.bucket, digest.key):
        raise ValueError(f"{name_of_after} does not name {digest}")
    if known.sha256.lower() != digest.sha256:
        raise DigestInvalid(f"{digest} is not what {name_of_after} lists: another hash", fault=Fault.PREVIOUS_HASH)
    if known.signature.lower() != digest.signature.lower():
        raise DigestInvalid(
            f"{digest} is not what {name_of_after} lists: another signature", fault=Fault.PREVIOUS_SIGNATURE
        )


def check_log(digest: Digest, bucket: str, key: str, sha256: str) -> bool:
    """Whether the digest, which must be valid, lists this log file. Raises `LogTampered` if it lists another hash."""
    listed = digest.logs.get((bucket, key))
    if listed is None:
        return False
    if listed.lower() != sha256.lower():
        raise LogTampered(
            f"{LogFile(bucket, key)} is not what CloudTrail delivered: its SHA-256 is {sha256}, "
            f"and {digest.key.rpartition('/')[2]} lists {listed}"
        )
    return True


class LogHash:
    """SHA-256 of a log's text, from the stored chunks. Code that decompresses the log anyway can use `hashlib.sha256`.

    Both methods raise `LogError`s, as `Decompressed` does.
    """

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes of text."""
        self._text = Decompressed(limit=limit)
        self._hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes of the object."""
        for block in self._text.feed(chunk):
            self._hash.update(block)

    def finish(self) -> str:
        """The hash in hex."""
        for block in self._text.finish():
            self._hash.update(block)
        return self._hash.hexdigest()
