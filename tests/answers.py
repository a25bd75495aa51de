"""Answers of Access Anywhere, read as the client reads them."""

from collections.abc import Iterable

from jibe_sqs.adapters.access_anywhere.wire.reader import Answer, AnswerReader, ListShape


def answer_of(pieces: Iterable[bytes], shape: ListShape | None = None) -> Answer:
    """The answer whose text arrives in these pieces."""
    reader = AnswerReader(shape)
    for piece in pieces:
        reader.feed(piece)
        while reader.parse():
            pass
    reader.end()
    while reader.parse():
        pass
    return reader.answer()
