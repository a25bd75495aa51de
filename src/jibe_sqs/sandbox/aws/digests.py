"""CloudTrail digests in the sandbox: in the real format, chained and signed, with one key for each region.

moto has no ListPublicKeys. `add_list_public_keys()` adds it; call it in moto's process before moto serves. It
returns the keys that `TrailDigests` stored in a bucket for this purpose.
"""

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.trail import Trail

KEYS_BUCKET: Final = "jibe-sandbox-cloudtrail-keys"
HOUR: Final = timedelta(hours=1)


class SigningKey:
    """One of CloudTrail's private keys, for one region."""

    def __init__(self, start: datetime, end: datetime) -> None:
        """The key's validity period."""
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.der = self._private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        self.fingerprint = hashlib.md5(self.der, usedforsecurity=False).hexdigest()
        self.start = start
        self.end = end

    def sign(self, text: bytes) -> str:
        """The signature in hex, as in the digest's metadata."""
        return self._private.sign(text, padding.PKCS1v15(), SHA256()).hex()

    def as_listed(self) -> dict[str, Any]:
        """The public key, as ListPublicKeys returns it."""
        return {
            "Value": self.der,
            "ValidityStartTime": self.start,
            "ValidityEndTime": self.end,
            "Fingerprint": self.fingerprint,
        }


class WrittenDigest(msgspec.Struct, frozen=True):
    """A digest as CloudTrail writes it. `body` is `text`, gzipped."""

    bucket: str
    key: str
    text: bytes
    body: bytes
    metadata: dict[str, str]

    @property
    def previous_fields(self) -> dict[str, str | None]:
        """The fields of the next digest that refer to this one."""
        return {
            "previousDigestS3Bucket": self.bucket,
            "previousDigestS3Object": self.key,
            "previousDigestHashValue": hashlib.sha256(self.text).hexdigest(),
            "previousDigestHashAlgorithm": "SHA-256",
            "previousDigestSignature": self.metadata["signature"],
        }


_NO_PREVIOUS: Final[dict[str, str | None]] = {
    "previousDigestS3Bucket": None,
    "previousDigestS3Object": None,
    "previousDigestHashValue": None,
    "previousDigestHashAlgorithm": None,
    "previousDigestSignature": None,
}


def write_digest(
    key: SigningKey,
    *,
    bucket: str,
    account: str,
    region: str,
    trail: str,
    home: str,
    start: datetime,
    end: datetime,
    logs: Iterable[tuple[str, str, bytes]],
    previous: WrittenDigest | None = None,
    backfill: bool = False,
    prefix: str = "",
) -> WrittenDigest:
    """Build and sign a digest. `logs`: bucket, key and text of each log file. `prefix`: of all keys, with its slash."""
    name = f"{account}_CloudTrail-Digest_{region}_{trail}_{home}_{end:%Y%m%dT%H%M%SZ}{'_backfill' * backfill}.json.gz"
    path = f"{prefix}AWSLogs/{account}/CloudTrail-Digest/{region}/{end:%Y/%m/%d}/{name}"
    listed = [_listed(*log) for log in logs]
    digest = {
        "awsAccountId": account,
        "digestStartTime": _time(start),
        "digestEndTime": _time(end),
        "digestS3Bucket": bucket,
        "digestS3Object": path,
        "digestPublicKeyFingerprint": key.fingerprint,
        "digestSignatureAlgorithm": "SHA256withRSA",
        "newestEventTime": max((log["newestEventTime"] for log in listed), default=None),
        "oldestEventTime": min((log["oldestEventTime"] for log in listed), default=None),
        **(previous.previous_fields if previous else _NO_PREVIOUS),
        "logFiles": listed,
    }
    text = json.dumps(digest, separators=(",", ":")).encode()
    signed = _string_to_sign(end, bucket, path, text, previous)
    metadata = {"signature": key.sign(signed), "signature-algorithm": "SHA256withRSA"}
    if backfill:
        metadata["backfill-generation-timestamp"] = _time(end + 24 * HOUR)
    return WrittenDigest(bucket, path, text, gzip.compress(text), metadata)


class TrailDigests:
    """Each `write` writes one digest for each region, with the log files that the trail delivered since the last
    `write`.
    """

    def __init__(
        self,
        deployment: Deployment,
        trail: Trail,
        *,
        name: str = "jibe",
        keys: Mapping[str, SigningKey] | None = None,
    ) -> None:
        """`name`: the trail's name. `keys`: by region. Default: new keys, valid for 30 days before and after now."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.written: dict[str, list[WrittenDigest]] = {region: [] for region in deployment.topics}
        """By region, oldest first."""
        self._deployment = deployment
        self._trail = trail
        self._name = name
        month = timedelta(days=30)
        self._keys = keys or {region: SigningKey(now - month, now + month) for region in self.written}
        self._done = 0
        """The number of the trail's log files that have their digest."""
        self._last: datetime | None = None

    def public_keys(self, region: str) -> list[dict[str, Any]]:
        """The keys, as ListPublicKeys returns them."""
        return [self._keys[region].as_listed()]

    def publish_keys(self) -> None:
        """Store the public keys where `add_list_public_keys` finds them."""
        s3 = self._deployment.client("s3", "us-east-1")
        for region, key in self._keys.items():
            publish_key(s3, region, key)

    def write(self, at: datetime | None = None, *, new_chain: bool = False) -> list[str]:
        """Write the digests for the time from the last ones to `at` (default: now). Returns their keys.

        `new_chain`: the digests do not refer to previous ones, as after validation was switched off and on.
        """
        end = (at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        start = self._last if self._last and not new_chain else end - HOUR
        files, self._done, self._last = self._trail.files[self._done :], len(self._trail.files), end
        return [
            self._put(region, start, end, [file for file in files if _region(file) == region], new_chain=new_chain)
            for region in self.written
        ]

    def _put(self, region: str, start: datetime, end: datetime, files: list[str], *, new_chain: bool) -> str:
        s3, bucket = self._deployment.client("s3"), self._deployment.log_bucket
        bodies = ((file, s3.get_object(Bucket=bucket, Key=file)["Body"].read()) for file in files)
        chain = self.written[region]
        digest = write_digest(
            self._keys[region],
            bucket=bucket,
            account=self._deployment.account,
            region=region,
            trail=self._name,
            home=self._deployment.home,
            start=start,
            end=end,
            logs=[(bucket, file, gzip.decompress(body)) for file, body in bodies],
            previous=chain[-1] if chain and not new_chain else None,
        )
        s3.put_object(
            Bucket=bucket,
            Key=digest.key,
            Body=digest.body,
            Metadata=digest.metadata,
            ContentType="application/json",
            ContentEncoding="gzip",
        )
        chain.append(digest)
        return digest.key


def publish_key(s3: Any, region: str, key: SigningKey) -> None:
    """Store the public key where `add_list_public_keys` finds it. `s3`: a client of us-east-1."""
    public = {
        "Value": b64encode(key.der).decode(),
        "ValidityStartTime": key.start.timestamp(),
        "ValidityEndTime": key.end.timestamp(),
        "Fingerprint": key.fingerprint,
    }
    s3.create_bucket(Bucket=KEYS_BUCKET)
    s3.put_object(Bucket=KEYS_BUCKET, Key=f"{region}/{key.fingerprint}", Body=json.dumps(public).encode())


def add_list_public_keys() -> None:
    """Add ListPublicKeys to moto's CloudTrail in this process."""
    from moto.cloudtrail.responses import CloudTrailResponse
    from moto.s3.models import s3_backends

    def list_public_keys(self: Any) -> str:
        buckets = s3_backends[self.current_account][self.partition].buckets
        objects = buckets[KEYS_BUCKET].keys if KEYS_BUCKET in buckets else {}
        public = [json.loads(found.value) for name, found in objects.items() if name.startswith(f"{self.region}/")]
        return json.dumps({"PublicKeyList": public})

    CloudTrailResponse.list_public_keys = list_public_keys  # type: ignore[attr-defined]


def _listed(bucket: str, key: str, text: bytes) -> dict[str, str]:
    times = sorted(record.get("eventTime", "") for record in json.loads(text)["Records"])
    return {
        "s3Bucket": bucket,
        "s3Object": key,
        "hashValue": hashlib.sha256(text).hexdigest(),
        "hashAlgorithm": "SHA-256",
        "newestEventTime": times[-1] if times else "",
        "oldestEventTime": times[0] if times else "",
    }


def _string_to_sign(end: datetime, bucket: str, key: str, text: bytes, previous: WrittenDigest | None) -> bytes:
    """The text that CloudTrail signs.

    It does not call the service's own function: an error in that function must not be repeated here, or tests would
    not find it. Source: CloudTrail User Guide, "CloudTrail digest file structure".
    """
    signature = previous.metadata["signature"] if previous else "null"
    return "\n".join((_time(end), f"{bucket}/{key}", hashlib.sha256(text).hexdigest(), signature)).encode()


def _region(key: str) -> str:
    """The region of a log file of the sandbox's trail, from its key: `AWSLogs/ACCOUNT/CloudTrail/REGION/…`."""
    return key.split("/")[3]


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
