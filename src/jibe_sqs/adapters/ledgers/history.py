"""Finds entries of the history in a SQLite ledger. It reads from the newest backwards, and decodes only what may match."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec

from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered

MAX_MARKS: Final = 500
"""Texts that the database looks for in each entry. With more, every entry is decoded."""

_decode: Final = msgspec.json.Decoder(HistoryEntry)


def found_in_history(database: sqlite3.Connection, question: HistoryQuestion) -> list[Remembered]:
    """The entries that answer the question, the newest last. None if the file is of a release without a history."""
    if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'history'").fetchone():
        return []
    found: list[Remembered] = []
    for each in _candidates(database, question):
        if question.concerns(each.entry):
            found.append(each)
            if len(found) == question.limit:
                break
    return found[::-1]


def _candidates(database: sqlite3.Connection, question: HistoryQuestion) -> Iterator[Remembered]:
    marks = _marks(question)
    contains = " OR ".join(["instr(entry, ?)"] * len(marks)) if len(marks) <= MAX_MARKS else "1"
    rows = database.execute(
        f"SELECT written, entry FROM history WHERE written >= ? AND ({contains}) ORDER BY id DESC",  # noqa: S608 - constants
        (question.since, *(marks if len(marks) <= MAX_MARKS else ())),
    )
    with closing(rows):
        for written, entry in rows:
            try:
                yield Remembered(written, _decode.decode(entry))
            except msgspec.DecodeError:
                continue  # of a later release


def _marks(question: HistoryQuestion) -> list[str]:
    """Texts of which an entry that answers the question has at least one."""
    if question.any_file:
        return ['"type":"read"']
    paths = [_json(path) for path in question.paths]
    trees = [_json(path)[:-1] for path in question.trees]
    above = [_json(path) for path in question.ancestors()]
    bucket = [_json(question.bucket)] if question.bucket else []
    return [*paths, *trees, *above, *bucket]


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
