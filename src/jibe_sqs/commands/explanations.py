"""Explains what the service would do for each record of a log file or a message, and why."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import orjson

from jibe_sqs.core.announcements import announced
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.errors import AnnouncementUnknown, BucketNotAllowed, JibeError, SettingsError
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import no_log
from jibe_sqs.core.model import UNKNOWN_TIME, LogFile, Nothing, ObjectEvent, Record, Skip, Unreadable
from jibe_sqs.core.phrases import utc_iso
from jibe_sqs.core.sources import IGNORED_FILE, LogSource, Sources

Explanation = dict[str, Any]
"""One object of `explain --json`."""

CHUNK_SIZE: Final = 64 * 1024
"""Bytes."""
MAX_SOURCE_LENGTH: Final = 1024
"""Characters of a source in an explanation."""
MAX_MEMORY: Final = 8 * 1024 * 1024
"""Bytes of explanations in memory while it is not known if the file is good. More go to a temporary file."""


class Explainer:
    """Explains log files and message bodies. A source that cannot be read gives one explanation: its error."""

    def __init__(self, *, decisions: Decisions, limits: Limits, sources: Sources) -> None:
        self._decisions = decisions
        self._limits = limits
        self._sources = sources

    def of_file(self, source: str, key: str | None, bucket: str | None = None) -> Iterator[Explanation]:
        """Explain each record of a log file. `source`: a path, or `-` for standard input.

        `key`: the key of the object, if it is not the path. `bucket`: the bucket of the object. Both choose the one of
        the configured `logs` that the file belongs to.
        """
        if not _is_utf8(key or "") or not _is_utf8(bucket or ""):
            yield {"source": _shown(source), "error": "NotUtf8", "message": "--key and --bucket must be UTF-8"}
            return
        given_key, key = key, key or _shown(source)
        if about := no_log(key) or (IGNORED_FILE if self._is_ignored(bucket, given_key, key) else None):
            yield {"source": _shown(source), "announcement": "nothing", "bucket": None, "key": key, "about": about}
            return
        # A bad file gives only its error, so its first records must not be printed before its end is read.
        with tempfile.SpooledTemporaryFile(MAX_MEMORY) as kept:
            try:
                log = self._log_source(bucket, given_key, key).reader(key, self._limits)
                for explanation in self._records_of(source, log):
                    kept.write(orjson.dumps(explanation) + b"\n")
            except (JibeError, OSError) as error:
                yield _failure(_shown(source), error)
                return
            kept.seek(0)
            yield from map(orjson.loads, kept)
            if log.format is Format.CLOUDTRAIL and _are_s3_events(kept):
                text = "this is the body of a message with S3 events, not a log file: explain it with --body"
                yield {"source": _shown(source), "error": "NotALogFile", "message": text}

    def of_body(self, source: str) -> Iterator[Explanation]:
        """Explain what a message announces. `source`: its body, a file with its body, or `-` for standard input."""
        try:
            text, name = _body(source)
            body = announced(text, self._sources, self._limits.key_length)
        except (JibeError, OSError, UnicodeDecodeError) as error:
            yield _body_failure(_shown(source), error)
            return
        rule = {"rule": body.rule} if body.rule else {}
        for each in body.found:
            if isinstance(each, LogFile) and self._sources.of(each.bucket, each.key) is None:
                yield _failure(name, BucketNotAllowed.of(each.bucket, each.key)) | rule
            elif isinstance(each, LogFile):
                yield {"source": name, "announcement": "log-file", "bucket": each.bucket, "key": each.key} | rule
            elif isinstance(each, Nothing):
                nothing = {"announcement": "nothing", "bucket": each.bucket, "key": each.key, "about": each.about}
                yield {"source": name, **nothing} | rule
            elif isinstance(each, Unreadable):
                yield _body_failure(name, each.error) | {"index": each.index} | rule
            else:
                yield self._of_record(name, each) | rule

    def _is_ignored(self, bucket: str | None, given_key: str | None, key: str) -> bool:
        """Whether the source of a log file ignores it. Without a bucket: whether every source that may have it does."""
        if bucket:
            source = self._sources.of(bucket, key)
            return source is not None and source.ignores(key)
        possible = self._sources.possible(given_key)
        return bool(given_key and possible) and all(each.ignores(key) for each in possible)

    def _log_source(self, bucket: str | None, given_key: str | None, key: str) -> LogSource:
        """The configured source of a log file. Raises `SettingsError` if several fit and would read it differently."""
        if bucket:
            source = self._sources.of(bucket, key)
            if source is None:
                raise BucketNotAllowed.of(bucket, key)
            return source
        named = format_of(key)
        possible = {(named or each.format, each.on_bad_record): each for each in self._sources.possible(given_key)}
        if len(possible) > 1:
            raise SettingsError(["several of the configured `logs` may hold this file: name its bucket with --bucket"])
        return next(iter(possible.values()), LogSource(""))

    def _records_of(self, source: str, log: LogReader) -> Iterator[Explanation]:
        name = _shown(source)
        with _opened(source) as stream:
            while chunk := stream.read(CHUNK_SIZE):
                for records in log.feed(chunk):
                    yield from (self._of_record(name, record) for record in records)
        for records in log.finish():
            yield from (self._of_record(name, record) for record in records)
        for error in log.bad.first:
            position = {"index": error.index, "offset": error.offset, "field": error.field or None}
            yield _failure(name, error) | position | {"on_bad_record": log.bad.policy}
        if log.bad.count:
            yield {"source": name, "bad_records": log.bad.count}

    def _of_record(self, source: str, record: Record) -> Explanation:
        decision = self._decisions.decide(record)
        skipped = isinstance(decision, Skip)
        has_time = record.time and record.time != UNKNOWN_TIME
        return {
            "source": source,
            "kind": record.kind.value if isinstance(record, ObjectEvent) else None,
            "bucket": record.bucket or None,
            "key": record.key if isinstance(record, ObjectEvent) else record.key or None,
            "time": utc_iso(record.time, precision="auto") if has_time else None,
            "event_id": record.event_id or None,
            "name": record.name or None,
            "decision": "skip" if skipped else "refresh",
            "reason": decision.reason.value if isinstance(decision, Skip) else None,
            "folders": [] if isinstance(decision, Skip) else [str(folder) for folder in decision.folders],
        }


def _are_s3_events(lines: IO[bytes]) -> bool:
    """Whether all explanations are of S3 events. Only their names contain a colon."""
    lines.seek(0)
    names = [orjson.loads(line).get("name") or "" for line in lines]
    return bool(names) and all(":" in name for name in names)


def _body(source: str) -> tuple[str, str]:
    """The text of a body, and the name of its source."""
    if source == "-":
        return sys.stdin.read(), "-"
    looks_like_text = source.lstrip().startswith(("{", "[")) or " " in source.strip()
    if looks_like_text and not _is_file(source):
        return source, _shown(source)
    return Path(source).read_text(encoding="utf-8"), source


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False  # The text is too long for a file name, or contains a NUL.


def _opened(source: str) -> BinaryIO:
    return sys.stdin.buffer if source == "-" else Path(source).open("rb")


def _failure(source: str, error: Exception) -> Explanation:
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    # An error may quote text that is not UTF-8.
    message = message.encode("utf-8", "backslashreplace").decode()
    return {"source": source, "error": type(error).__name__, "message": message}


def _body_failure(source: str, error: Exception) -> Explanation:
    failure = _failure(source, error)
    if isinstance(error, AnnouncementUnknown):
        failure["message"] += " (a log file is explained without --body)"
    return failure


def _is_utf8(text: str) -> bool:
    """Whether an argument is UTF-8. Python replaces each byte that is not by half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(source: str) -> str:
    """The source as it is shown. The name of a file may not be UTF-8, and a body may be long."""
    text = source.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_SOURCE_LENGTH else f"{text[: MAX_SOURCE_LENGTH - 1]}…"
