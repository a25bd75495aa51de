"""SNS's signatures: what SNS signs of a message, and whether it was SNS that signed it.

SNS signs some of an envelope's fields, in an order of its own, each name and each value on a line. It names the
certificate of its key; that name counts only if it is an address of SNS's own, because the holder of *some* certificate
proves nothing. All topics of a region, whosever they are, are signed with one key: that SNS signed a message says that
it came by some topic, and only the topic's name, which is signed, says by whose.

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
"""Type -> the fields that are signed, in their order. A notification without a subject is signed without it."""

CERTIFICATE: Final = re.compile(
    r"https://sns\.[a-z]{2,4}(?:-[a-z]{2,16}){1,3}-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?/[A-Za-z0-9_-]{1,128}\.pem"
)
"""An address of a certificate, all of it: no port, no name and password, no folder, nothing after it.

Only a region's name may stand beside SNS's: `sns.s3-us-west-2.amazonaws.com` is the bucket of whoever came first to call
his `sns`.
"""
SMALLEST_KEY: Final = 2048
"""Bits."""
_HASHES: Final = {"1": SHA1, "2": SHA256}
_LONGEST_SIGNATURE: Final = 2048


class Signed(msgspec.Struct, frozen=True):
    """An envelope that says that it is signed. `text` is what is signed of it."""

    topic: str
    certificate: str
    """Its address, which is one of SNS's."""
    version: str
    signature: bytes
    text: bytes


def signed(envelope: Mapping[str, Any], topics: Collection[str] = ()) -> Signed:
    """What is to be checked. Raises `AnnouncementUnsigned`, `AnnouncementForged`. `topics`: the only good ones, if any."""
    topic = str(envelope["TopicArn"])
    if topics and topic not in topics:
        raise AnnouncementForged(
            f"of the topic {topic[:200]!r}, which is none of `sns.topics`: add it, or take its subscription away"
        )
    told = [envelope.get(name) for name in ("SignatureVersion", "Signature", "SigningCertURL")]
    if not all(told):
        raise AnnouncementUnsigned("an SNS envelope without a signature")
    version, signature, certificate = told
    if not isinstance(version, str) or version not in _HASHES:
        raise AnnouncementForged(f"signed in the unknown version {shown(version)}")
    if not isinstance(certificate, str) or not CERTIFICATE.fullmatch(certificate):
        raise AnnouncementForged(f"signed with a certificate that is not SNS's own: {shown(certificate)}")
    return Signed(topic, certificate, version, _decoded(signature), _text(envelope))


def check_signature(message: Signed, key: RSAPublicKey) -> None:
    """Return if that key's holder signed it. Raises `AnnouncementForged`."""
    try:
        key.verify(message.signature, message.text, PKCS1v15(), _HASHES[message.version]())
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise AnnouncementForged(
            f"of the topic {message.topic[:200]!r}: its signature is not that of its text: SNS did not send this"
        ) from error


def public_key(pem: bytes, now: datetime) -> RSAPublicKey:
    """Of a certificate that is valid now. Raises `AnnouncementForged`."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AnnouncementForged(f"its certificate is none: {str(error)[:100]}") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise AnnouncementForged(
            f"its certificate is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc} "
            "only: is our clock right?"
        )
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_KEY:
        raise AnnouncementForged(f"its certificate has no RSA key of {SMALLEST_KEY} bits at least")
    return key


def _text(envelope: Mapping[str, Any]) -> bytes:
    names = SIGNED.get(envelope["Type"])
    if names is None:
        raise AnnouncementUnknown(f"an SNS message of the unknown type {str(envelope['Type'])[:100]!r}")
    lines = []
    for name in names:
        value = envelope.get(name)
        if value is None and name == "Subject":
            continue
        # Only a message has line breaks. Elsewhere they would let a value pass for the next field.
        if not isinstance(value, str) or (name != "Message" and "\n" in value):
            raise AnnouncementForged(f"an SNS {envelope['Type']} whose {name} is none")
        lines += [name, value]
    try:
        return "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise AnnouncementForged("an SNS message that is no Unicode") from error


def _decoded(signature: object) -> bytes:
    if isinstance(signature, str) and len(signature) <= _LONGEST_SIGNATURE:
        try:
            return base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise AnnouncementForged("its signature is none")
