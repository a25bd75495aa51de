"""Requests and answers of SQS's JSON protocol.

Answers are decoded into the few fields that are used. An answer that msgspec does not accept is read by Python's more
tolerant parser: SQS refuses half of a surrogate pair in a message, but another service that speaks its protocol may not.

Format: Amazon SQS API Reference; "Making Query API requests using AWS JSON protocol" of the SQS Developer Guide.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
import orjson
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParser, ResponseParserError, create_parser

from jibe_sqs.core.model import Message

T = TypeVar("T")


class Failure(msgspec.Struct, rename="pascal"):
    """An entry of a batch that failed. `id`: its place in the batch."""

    id: Annotated[int, msgspec.Meta(ge=0)]
    code: str | None = None
    message: str | None = None


class _Batch(msgspec.Struct, rename="pascal"):
    failed: list[Failure] | None = None


class _SystemAttributes(msgspec.Struct, rename="pascal"):
    approximate_receive_count: int = 1
    sent_timestamp: int = 0
    """Milliseconds since the epoch."""
    trace: Any = msgspec.field(name="AWSTraceHeader", default=None)
    """Of any type: a compatible service may know no such attribute, and one message must not cost the others."""


class _Found(msgspec.Struct, rename="pascal"):
    message_id: str
    receipt_handle: str
    body: str | None = None
    attributes: _SystemAttributes | None = None


class _Received(msgspec.Struct, rename="pascal"):
    messages: list[_Found] | None = None


# Not strict: SQS writes numbers as strings.
_RECEIVED: Final = msgspec.json.Decoder(_Received, strict=False)
_BATCH: Final = msgspec.json.Decoder(_Batch, strict=False)
_ANY: Final = msgspec.json.Decoder(dict[str, Any])
_NO_ATTRIBUTES: Final = _SystemAttributes()


def request(arguments: Mapping[str, Any]) -> bytes:
    """The body of a request."""
    try:
        return orjson.dumps(arguments)
    except TypeError:
        # Half of a surrogate pair, in a receipt that another service made.
        return json.dumps(arguments).encode()


def messages(answer: bytes) -> list[Message]:
    """The messages of a receive. Raises `ResponseParserError`."""
    return [_message(found) for found in _read(answer, _RECEIVED).messages or ()]


def failures(answer: bytes) -> Sequence[Failure]:
    """The failed entries of a batch. SQS reports them in a successful answer. Raises `ResponseParserError`."""
    return _read(answer, _BATCH).failed or ()


def fields(answer: bytes) -> dict[str, Any]:
    """All fields of an answer. Raises `ResponseParserError`."""
    return _read(answer, _ANY)


def refusal(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> ClientError:
    """The error that botocore makes of an answer. `headers`: their names are in lower case."""
    answer = {"status_code": max(status, 301), "headers": headers, "body": body}
    try:
        parsed = _error_parser().parse(answer, None)
    except (AttributeError, RecursionError, TypeError, ValueError):
        # botocore's parser fails if the body is JSON but not an object, or is not text.
        parsed = _error_parser().parse({**answer, "body": b""}, None)
    parsed["Error"]["Message"] = parsed["Error"]["Message"] or ""
    parsed["ResponseMetadata"]["HTTPStatusCode"] = status
    return ClientError(parsed, operation)


@functools.cache
def _error_parser() -> ResponseParser:
    return create_parser("json")


def _message(found: _Found) -> Message:
    attributes = found.attributes or _NO_ATTRIBUTES
    return Message(
        id=found.message_id,
        receipt=found.receipt_handle,
        body=(found.body or "").encode("utf-8", "surrogatepass"),
        receive_count=attributes.approximate_receive_count,
        sent_at=attributes.sent_timestamp / 1000,
        trace=attributes.trace if isinstance(attributes.trace, str) else "",
    )


def _read(answer: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    # botocore, too, takes an empty body for an answer without fields.
    answer = answer or b"{}"
    try:
        return decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_tolerantly(answer, decoder.type)


def _read_tolerantly(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(answer, strict=False), kind, strict=False)
    except (msgspec.ValidationError, RecursionError, ValueError) as error:
        reason = f"the answer is not of SQS's JSON protocol ({error}): is the address that of an SQS service?"
        raise ResponseParserError(reason) from error
