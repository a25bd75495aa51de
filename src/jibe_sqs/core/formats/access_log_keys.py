"""The keys that a field of an access log may stand for: all of them, where it can be read in several ways.

S3 form-encodes keys (`+` is a space, `%2B` a plus): once or twice, by operation. Where a reading is in doubt, every
reading is returned: a refresh too many is harmless, one too few is not. ADR 0021 has the observations.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

ENCODED_ONCE: Final = frozenset({"BATCH.DELETE.OBJECT", "S3.EXPIRE.OBJECT", "S3.CREATE.DELETEMARKER"})
"""Operations whose keys are encoded once; the keys of all others are encoded twice.

Observed for the first two. Queries that AWS published decode the third once as well.
"""

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def keys_in_line(field: bytes, operation: str) -> tuple[str, ...]:
    """The keys that a field of a text line may stand for, the most likely first. Empty if none can be read."""
    if b"%" not in field and b"+" not in field:
        try:
            return (field.decode(),)
        except UnicodeDecodeError:
            return ()
    if _BROKEN_ESCAPE.search(field):
        return ()
    if operation in ENCODED_ONCE:
        return _decoded_keys(_form_decoded(field))
    return _decoded_keys(*_encoded_twice(field))


def keys_in_json(key: str, operation: str) -> tuple[str, ...]:
    """The keys that a JSON field may stand for. The encoding is not documented, so also the key as it is."""
    try:
        field = key.encode()
    except UnicodeEncodeError:  # half a surrogate pair, or bytes that were not UTF-8
        return ()
    if "%" not in key and "+" not in key:
        return (key,)
    once = () if _BROKEN_ESCAPE.search(field) else _decoded_keys(_form_decoded(field))
    return tuple(dict.fromkeys((key, *once, *keys_in_line(field, operation))))


def _encoded_twice(field: bytes) -> list[bytes]:
    """Both readings of a plus that is left after the first decoding: `%2B` may be a space (`+`) or an encoded plus."""
    form, percent = _form_decoded(field), unquote_to_bytes(field)
    if _BROKEN_ESCAPE.search(percent):
        # Decodes only once, so it was encoded only once.
        return [form, percent]
    readings = [_form_decoded(form), unquote_to_bytes(percent)]
    if b"+" in field:
        # Form-encoding twice leaves no bare plus, so the key may have been encoded once.
        readings.append(form)
    return readings


def _form_decoded(field: bytes) -> bytes:
    return unquote_to_bytes(field.replace(b"+", b" "))


def _decoded_keys(*keys: bytes) -> tuple[str, ...]:
    """Empty if one of them is not UTF-8: then the others are in doubt as well."""
    try:
        return tuple(dict.fromkeys(key.decode() for key in keys))
    except UnicodeDecodeError:
        return ()
