"""SNS's signatures: the signed text of an envelope, and the checks of its signature and certificate.

SNS signs some fields of an envelope in a fixed order, with each name and each value on a line of its own. The envelope
has the URL of the certificate. Only a URL of SNS itself is accepted, because a certificate from elsewhere proves nothing.
SNS signs all topics of a region, of all accounts, with one key. So a valid signature proves only that the message came
from some topic. The name of the topic is part of the signed text; compare it with the configured topics.

Source: SNS Developer Guide, "Verifying the signatures of Amazon SNS messages".
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from jibe_sqs.core.errors import AnnouncementForged, AnnouncementUnknown, AnnouncementUnsigned
from jibe_sqs.core.notifications import shown

NOTIFICATION: Final = "Notification"
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
"""Type -> the signed fields, in their order. If a notification has no subject, that field is left out."""

_CERTIFICATE: Final = re.compile(r"https://sns\.([a-z0-9-]{1,63})\.([a-z0-9.-]{1,253})/[A-Za-z0-9_-]{1,128}\.pem")
"""The complete URL of a certificate: region and DNS suffix. Without a port, credentials, a folder or a query."""
MIN_KEY_BITS: Final = 2048
_HASHES: Final = {"1": SHA1, "2": SHA256}
_MAX_SIGNATURE: Final = 2048
"""Characters of base64."""


class SigningHosts(msgspec.Struct, frozen=True):
    """The hosts of SNS in one partition, `sns.REGION.SUFFIX`. SNS names no dual-stack or FIPS host in its envelopes."""

    suffix: str
    regions: re.Pattern[str]


class Signed(msgspec.Struct, frozen=True):
    """The parts of an envelope that are needed to check its signature. `text`: the signed bytes."""

    topic: str
    certificate: str
    """The URL of the certificate, at SNS in the topic's partition."""
    version: str
    signature: bytes
    text: bytes


def signed(envelope: Mapping[str, Any], hosts: Mapping[str, SigningHosts], topics: Collection[str] = ()) -> Signed:
    """The parts to check. `hosts`: SNS's hosts by partition. `topics`: the accepted topics; all if it is empty.

    Raises `AnnouncementUnsigned`, `AnnouncementForged` or `AnnouncementUnknown`.
    """
    topic = str(envelope["TopicArn"])
    if topics and topic not in topics:
        raise AnnouncementForged(
            f"the topic {topic[:200]!r} is not in `sns.topics`: add it, or remove its subscription"
        )
    fields = [envelope.get(name) for name in ("SignatureVersion", "Signature", "SigningCertURL")]
    if not all(fields):
        raise AnnouncementUnsigned("the SNS envelope has no signature")
    version, signature, certificate = fields
    if not isinstance(version, str) or version not in _HASHES:
        raise AnnouncementForged(f"the signature has the unknown version {shown(version)}")
    if not isinstance(certificate, str) or not _is_of_partition(certificate, hosts.get(_partition(topic))):
        raise AnnouncementForged(
            f"the certificate's URL is not one of SNS in the partition of the topic {topic[:200]!r}: {shown(certificate)}"
        )
    return Signed(topic, certificate, version, _decoded(signature), _text(envelope))


def check_signature(message: Signed, key: RSAPublicKey) -> None:
    """Check that this key signed the message. Raises `AnnouncementForged`."""
    try:
        key.verify(message.signature, message.text, PKCS1v15(), _HASHES[message.version]())
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise AnnouncementForged(
            f"the signature does not match the text, so SNS did not send this; the topic is {message.topic[:200]!r}"
        ) from error


def public_key(pem: bytes, now: datetime) -> RSAPublicKey:
    """The key of a certificate. Raises `AnnouncementForged` if the certificate is not valid now."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AnnouncementForged(f"cannot parse the signing certificate: {str(error)[:100]}") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise AnnouncementForged(
            f"the signing certificate is only valid from {certificate.not_valid_before_utc} "
            f"to {certificate.not_valid_after_utc}: is the clock of this machine right?"
        )
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        raise AnnouncementForged(f"the signing certificate does not have an RSA key of at least {MIN_KEY_BITS} bits")
    return key


def _partition(arn: str) -> str:
    """The partition in `arn:PARTITION:sns:…`. Returns an empty text if this is not an ARN of SNS."""
    return found[1] if (found := re.match(r"arn:([a-z0-9-]{1,63}):sns:", arn)) else ""


def _is_of_partition(url: str, hosts: SigningHosts | None) -> bool:
    """Whether the host is SNS's own.

    The label after `sns` must be a region. `sns.s3-us-west-2.amazonaws.com` is the S3 bucket `sns`, which belongs to some
    customer of AWS.
    """
    found = _CERTIFICATE.fullmatch(url)
    return bool(hosts and found and hosts.regions.fullmatch(found[1]) and found[2] == hosts.suffix)


def _text(envelope: Mapping[str, Any]) -> bytes:
    names = SIGNED.get(envelope["Type"])
    if names is None:
        raise AnnouncementUnknown(f"the SNS message has the unknown type {str(envelope['Type'])[:100]!r}")
    lines = []
    for name in names:
        value = envelope.get(name)
        if value is None and name == "Subject":
            continue
        # Only a message may have line breaks. In another field, they could imitate the next field.
        if value is None:
            raise AnnouncementForged(f"{name} is missing in the SNS {envelope['Type']}")
        if not isinstance(value, str) or (name != "Message" and "\n" in value):
            raise AnnouncementForged(f"{name} in the SNS {envelope['Type']} is not a string on one line")
        lines += [name, value]
    try:
        return "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise AnnouncementForged("the SNS message is not valid Unicode") from error


def _decoded(signature: object) -> bytes:
    if isinstance(signature, str) and len(signature) <= _MAX_SIGNATURE:
        try:
            return base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise AnnouncementForged("the signature is not base64")
