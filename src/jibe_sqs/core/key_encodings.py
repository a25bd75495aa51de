"""How the keys in notifications are encoded, and the possible readings of a key if that is not known."""

import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote_plus

KeyEncoding = Literal["url", "raw"]

KEY_ENCODINGS: Final[Mapping[str, KeyEncoding]] = {
    "aws:s3": "url",
    "minio:s3": "url",
    "ceph:s3": "raw",
    "eventbridge": "raw",
}
"""The source of a notification -> the encoding of its keys. AWS does not document EventBridge's encoding."""

EVERY_SOURCE: Final = "*"
"""The name in the operator's key encodings for every source without an entry of its own."""

_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def readings(key: str, encoding: KeyEncoding | None) -> list[str]:
    """The possible readings of a key: more than one if the encoding is unknown (None) and the readings differ.

    Raises `ValueError` if `encoding` is `url` and the key is not percent-encoded UTF-8.
    """
    if encoding == "raw":
        return [key]
    if encoding == "url":
        return [unquote_plus(key, errors="strict")]
    if _STRAY_PERCENT.search(key):
        return [key]
    try:
        return list(dict.fromkeys((unquote_plus(key, errors="strict"), key)))
    except UnicodeDecodeError:
        return [key]
