"""Decodes JSON that the strict decoder (msgspec) refuses.

The standard library's decoder accepts halves of surrogate pairs, `NaN`, and control characters in texts, which msgspec
refuses. Bytes that are not UTF-8 become surrogates. If a value is nested too deeply for both decoders, its end is found by
its brackets, and its deepest parts are left out. `readable` tests which texts of the result can be used.
"""

import json
import re
from typing import Final

import msgspec

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec's strict decoder raises for a text that it refuses."""
LOSSLESS: Final = "surrogateescape"
"""The error handler for decoding and encoding. Bytes that are not UTF-8 stay the same through both."""
MAX_DEPTH: Final = 16
"""Levels that are kept of a value that is nested too deeply. The fields that we read are at smaller depths."""
MAX_WORD_LENGTH: Final = len("-Infinity")
HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
"""CloudTrail's text in place of a value that the reader of the log may not see."""

# Numbers stay text if only the end of a value matters: Python refuses to convert a number of 5,000 digits.
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode
_decoder = json.JSONDecoder(strict=False, parse_int=float)
# The last alternative is a quote without its pair: a text that continues in the next chunk.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[][{}]|"', re.DOTALL)


class Broken(ValueError):
    """The text is not JSON, whatever text may follow it."""


class TooDeep(Broken):
    """The value is nested too deeply for the decoder."""


def value_end(text: str, start: int) -> int | None:
    """Where the JSON value at `start` ends. None if the text ends before that. Raises `Broken`."""
    found = value_at(text, start)
    return None if found is None else found[1]


def value_at(text: str, start: int) -> tuple[object, int] | None:
    """The JSON value at `start`, with numbers as texts, and where it ends. None if the text ends before. Raises `Broken`."""
    try:
        return _scan(text, start)
    except RecursionError:
        raise TooDeep("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        if _is_incomplete(error, text):
            return None
        raise Broken(f"{error.msg} (character {error.pos - start})") from None


def end_of_match(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where the match of the pattern at this place ends. `at` if it does not match."""
    found = pattern.match(text, at)
    return found.end() if found else at


def bracket_end(text: str, start: int, stop: int | None = None) -> int | None:
    """Where the bracket that opens at `start` is closed. None if it is not closed before `stop`."""
    depth = 0
    for token in _TOKEN.finditer(text, start, len(text) if stop is None else stop):
        if token[0] in ("{", "["):
            depth += 1
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth <= 0:
                return token.end()
        elif token[0] == '"':
            return None
    return None


def decoded(data: bytes) -> object:
    """Decode the value. Integers become floats. Raises `Broken`."""
    return decoded_text(data.decode("utf-8", LOSSLESS))


def decoded_text(text: str) -> object:
    """Decode the value of a text. Integers become floats. Raises `Broken`."""
    try:
        try:
            return _decoder.decode(text)
        except RecursionError:
            return _decoder.decode(_pruned(text))
    except json.JSONDecodeError as error:
        raise Broken(f"{error.msg} (character {error.pos})") from None


def readable(value: object) -> str:
    """The text. Empty if the value is not a text, is hidden, or cannot be encoded as UTF-8."""
    if not isinstance(value, str) or value == HIDDEN:
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value


def fields(value: object) -> dict[str, object]:
    """The fields of an object. Empty if the value is not an object."""
    return value if isinstance(value, dict) else {}


def shallow(value: object, levels: int = MAX_DEPTH) -> object:
    """A copy of the value, with None in place of the parts that are nested more deeply than `levels`."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return None
    if isinstance(value, dict):
        return {name: shallow(each, levels - 1) for name, each in value.items()}
    return [shallow(each, levels - 1) for each in value]


def _is_incomplete(error: json.JSONDecodeError, text: str) -> bool:
    """Whether the text only ends too early: the error is at its end, or in a quoted text without a closing quote."""
    # If the text does not end with a line end, its last word, number or escape may be incomplete.
    end = len(text.rstrip()) if text.endswith("\n") else len(text) - MAX_WORD_LENGTH
    return error.pos >= end or error.msg.startswith("Unterminated string")


def _pruned(text: str) -> str:
    """The text, with null in place of the parts that are nested more deeply than `MAX_DEPTH`."""
    kept: list[str] = []
    depth = at = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "["):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(text[at : token.start()])
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth == MAX_DEPTH:
                kept.append("null")
                at = token.end()
    if depth > MAX_DEPTH:
        raise Broken("it is nested too deeply, and has no end")
    return "".join([*kept, text[at:]])
