"""The object keys that a field of an access log may mean.

S3 form-encodes keys (`+` is a space, `%2B` a plus), once or twice: that depends on the operation. If the encoding is not
certain, all possible keys are returned: a refresh too many is harmless, a missing one is not. ADR 0021 has the
observations.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

ENCODED_ONCE: Final = frozenset({"BATCH.DELETE.OBJECT", "S3.EXPIRE.OBJECT", "S3.CREATE.DELETEMARKER"})
"""Operations whose keys are encoded once. The keys of all other operations are encoded twice.

This was observed for the first two. Queries that AWS published also decode the third one once.
"""

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def keys_in_line(field: bytes, operation: str) -> tuple[str, ...]:
    """The keys that a field of a text line may mean, the most likely first. Empty if the field cannot be decoded."""
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
    """The keys that a JSON field may mean. The encoding is not documented, so the field as it is comes first."""
    try:
        field = key.encode()
    except UnicodeEncodeError:  # half a surrogate pair, or bytes that were not UTF-8
        return ()
    if "%" not in key and "+" not in key:
        return (key,)
    once = () if _BROKEN_ESCAPE.search(field) else _decoded_keys(_form_decoded(field))
    return tuple(dict.fromkeys((key, *once, *keys_in_line(field, operation))))


def _encoded_twice(field: bytes) -> list[bytes]:
    """The possible keys of a field that was encoded twice.

    A `%2B` after the first decoding may be a space (which the first encoding wrote as `+`) or an encoded plus.
    """
    plus_as_space, plus_as_plus = _form_decoded(field), unquote_to_bytes(field)
    if _BROKEN_ESCAPE.search(plus_as_plus):
        # It can be decoded only once, so it was encoded only once. It is not known by which encoding: in a form-encoded
        # field `+` is a space, in a percent-encoded one it is a plus.
        return [plus_as_space, plus_as_plus]
    readings = [_form_decoded(plus_as_space), unquote_to_bytes(plus_as_plus)]
    if b"+" in field:
        # A field that was form-encoded twice has no bare plus. So the key may have been encoded once.
        readings.append(plus_as_space)
    return readings


def _form_decoded(field: bytes) -> bytes:
    return unquote_to_bytes(field.replace(b"+", b" "))


def _decoded_keys(*keys: bytes) -> tuple[str, ...]:
    """The keys as text. Empty if one of them is not UTF-8, because then the others are not certain either."""
    try:
        return tuple(dict.fromkeys(key.decode() for key in keys))
    except UnicodeDecodeError:
        return ()
