"""The finished log files of a SQLite ledger: 70 bytes each, found by a hash of bucket and key.

    finished    name: time in the key, and a part of the hash; hash: the other part, with the rules; version, etag, written
    files       what earlier releases wrote, with whole keys: it is still asked, pruned, and not written any more

Log files have their time in their names. An index that begins with the time has the files of a minute on the same pages, so a
transaction of a hundred files writes a few pages instead of a hundred.
"""

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import unpack
from typing import Any, Final

from msgspec.structs import replace

from jibe_sqs.adapters.ledgers.identity import counts, etag_of, is_same
from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Validity

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS finished (
    id INTEGER PRIMARY KEY, name INTEGER NOT NULL UNIQUE, hash INTEGER NOT NULL, version TEXT, etag NOT NULL,
    written REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT, etag TEXT NOT NULL, written REAL NOT NULL,
    rules TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_written ON files (written);
"""
FINISH: Final = "INSERT OR REPLACE INTO finished (name, hash, version, etag, written) VALUES (?, ?, ?, ?, ?)"
MAX_LOOK_UP: Final = 400
"""Files that one statement looks up."""

_LOOK_UP_ONE: Final = "SELECT name, hash, version, etag, written FROM finished WHERE name = ?"
# In SQLite, CROSS JOIN fixes the order: for each wanted file, look up its key. One statement takes a quarter of the time.
_LOOK_UP: Final = """
WITH wanted (name) AS (VALUES {})
SELECT name, hash, version, etag, written FROM wanted CROSS JOIN finished USING (name)
"""
_LOOK_UP_EARLIER: Final = """
WITH wanted (bucket, key) AS (VALUES {})
SELECT bucket, key, version, etag, written, rules FROM wanted CROSS JOIN files USING (bucket, key)
"""

_TIME_IN_NAME: Final = re.compile("20[0-9]{2}-?[0-9]{2}-?[0-9]{2}[T-]?[0-9]{2}-?[0-9]{2}")
"""As CloudTrail, S3 access logs and audit logs write it: `20261130T0005Z`, `2026-11-30-00-05-00`."""
_HASH_BITS: Final = 37
"""Bits of the hash in a name with a time; the minutes of a century have 26. If two files of a minute have the same, the
later one replaces the earlier, which may then be read once more."""
_HASH_MASK: Final = (1 << _HASH_BITS) - 1
_NUMBERS_KEPT: Final = 4096
"""Files whose numbers are kept between the look-up and the write."""

Row = tuple[Any, ...]


class FinishedFiles:
    """The two tables. Its methods raise `sqlite3.Error`, and `UnicodeEncodeError` for a text that is not UTF-8."""

    def __init__(self, validity: Validity) -> None:
        self._validity = validity
        self._rules = _number_of(validity)
        self.asks_earlier = True
        """Whether there are entries of earlier releases."""

    def change_rules(self, rules: str) -> None:
        """Files finish under these rules from now on."""
        self._validity = replace(self._validity, rules=rules)
        self._rules = _number_of(self._validity)

    def row(self, file: LogFile, etag: str, written: float) -> Row:
        """The values for `FINISH`."""
        name, rest = _numbers(file.bucket, file.key)
        etag = etag_of(file, etag)
        for text in (file.version, etag):
            if text and not text.isascii():
                text.encode()  # raises before the row fails its transaction
        return name, rest ^ self._rules, file.version, _packed(etag), written

    def is_finished(self, database: sqlite3.Connection, file: LogFile) -> bool:
        """Whether this file, in this version, was finished."""
        name, rest = _numbers(file.bucket, file.key)
        row = database.execute(_LOOK_UP_ONE, (name,)).fetchone()
        if row is None:
            return self.asks_earlier and file in self._earlier(database, [file])
        return self._matches(file, rest, row)

    def unfinished(self, database: sqlite3.Connection, files: Sequence[LogFile]) -> list[LogFile]:
        """Those of up to `MAX_LOOK_UP` files that are not finished, in their order."""
        numbers = [_numbers(file.bucket, file.key) for file in files]
        rows = {row[0]: row for row in database.execute(_look_up(len(files)), [name for name, _ in numbers]).fetchall()}
        unknown = [file for file, (name, _) in zip(files, numbers, strict=True) if name not in rows]
        earlier = self._earlier(database, unknown) if unknown and self.asks_earlier else set()
        return [
            file
            for file, (name, rest) in zip(files, numbers, strict=True)
            if not (self._matches(file, rest, rows[name]) if name in rows else file in earlier)
        ]

    def notice_earlier(self, database: sqlite3.Connection) -> None:
        """Look whether there are entries of earlier releases."""
        self.asks_earlier = database.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None

    def _matches(self, file: LogFile, rest: int, row: Row) -> bool:
        _, found, version, etag, written = row
        return (
            found == rest ^ self._rules and written >= self._validity.since and is_same(file, version, _unpacked(etag))
        )

    def _earlier(self, database: sqlite3.Connection, files: Sequence[LogFile]) -> set[LogFile]:
        names = [name for file in files for name in (file.bucket, file.key)]
        known = {
            (bucket, key): (version, etag)
            for bucket, key, version, etag, written, rules in database.execute(_look_up_earlier(len(files)), names)
            if counts(self._validity, rules, written)
        }
        return {
            file
            for file in files
            if (entry := known.get((file.bucket, file.key))) is not None and is_same(file, *entry)
        }


def _number_of(validity: Validity) -> int:
    # The rules are a part of the hash, and not of the name: a file has one row, whichever rules it was finished under.
    (number,) = unpack("<q", _hash(validity.rules, size=8))
    return int(number)


@lru_cache
def _look_up(number: int) -> str:
    return _LOOK_UP.format(", ".join(["(?)"] * number))


@lru_cache
def _look_up_earlier(number: int) -> str:
    return _LOOK_UP_EARLIER.format(", ".join(["(?, ?)"] * number))


@lru_cache(_NUMBERS_KEPT)
def _numbers(bucket: str, key: str) -> tuple[int, int]:
    """The name of a file, and the other part of its hash."""
    name, rest = unpack("<qq", _hash(f"{len(bucket)} {bucket}{key}", size=16))
    if time := _TIME_IN_NAME.search(key, key.rfind("/") + 1):
        name = _minutes(time[0]) << _HASH_BITS | name & _HASH_MASK
    return name, rest


@lru_cache
def _minutes(time: str) -> int:
    """Minutes of the century. Each part may be up to 99: only the order matters."""
    digits = time.replace("-", "").replace("T", "")
    year, month, day, hour, minute = (int(digits[place : place + 2]) for place in range(2, 12, 2))
    return (((year * 12 + month) * 31 + day) * 24 + hour) * 60 + minute


def _hash(text: str, *, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


def _packed(etag: str) -> str | bytes:
    """Half as long, if it is an MD5 hash in hexadecimal digits. Most are."""
    if len(etag) == 32:
        try:
            packed = bytes.fromhex(etag)
        except ValueError:
            return etag
        if packed.hex() == etag:
            return packed
    return etag


def _unpacked(etag: str | bytes) -> str:
    return etag.hex() if isinstance(etag, bytes) else etag
