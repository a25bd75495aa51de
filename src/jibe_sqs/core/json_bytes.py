"""Values as JSON for other processes, whatever their texts contain."""

from collections.abc import Callable
from typing import Any

import msgspec


def json_bytes(value: Any, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """JSON in UTF-8. Half of a surrogate pair, which a key may have, is replaced: UTF-8 cannot represent it.

    `enc_hook`: see `msgspec.json.encode`.
    """
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value, enc_hook=enc_hook)))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_encodable(key): _encodable(each) for key, each in value.items()}
        case list() | tuple():
            return [_encodable(each) for each in value]
    return value
