"""What each record would do, and why, for people and for programs."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jibe_sqs.core.announcements import announced
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.errors import AnnouncementUnknown, BucketNotAllowed, JibeError, SettingsError
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import no_log
from jibe_sqs.core.model import UNKNOWN_TIME, LogFile, Nothing, ObjectEvent, Record, Skip, Unreadable
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.telemetry.printable import printable

Explanation = dict[str, Any]
"""One object of `explain --json`."""

CHUNK: Final = 64 * 1024
LONGEST_NAME: Final = 1024
"""Characters of a source that are shown."""
PIPED_WIDTH: Final = 100_000
"""Columns of a table that no terminal shows: a program that reads it wants each row on one line."""
IN_MEMORY: Final = 8 * 1024 * 1024
"""Bytes of explanations that are kept in memory until the file is known to be good; more go to a temporary file."""


class Explainer:
    """Explains log files and message bodies. A source that cannot be read gives one explanation: its error."""

    def __init__(self, *, decisions: Decisions, limits: Limits, sources: Sources) -> None:
        self._decisions = decisions
        self._limits = limits
        self._sources = sources

    def of_file(self, source: str, key: str | None, bucket: str | None = None) -> Iterator[Explanation]:
        """Of each record of a log file. `key`: the object's, where it is not the file's name.

        `bucket`: where the object is. It decides which of the configured `logs` the file belongs to.
        """
        if not _is_utf8(key or "") or not _is_utf8(bucket or ""):
            yield {"source": _shown(source), "error": "NotUtf8", "message": "--key and --bucket must be UTF-8"}
            return
        given, key = key, key or _shown(source)
        if about := no_log(key):
            yield {"source": _shown(source), "announcement": "nothing", "bucket": None, "key": key, "about": about}
            return
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as kept:
            try:
                log = self._log_source(bucket, given, key).reader(key, self._limits)
                for explanation in self._records_of(source, log):
                    kept.write(orjson.dumps(explanation) + b"\n")
            except (JibeError, OSError) as error:
                yield _failure(_shown(source), error)
                return
            kept.seek(0)
            yield from map(orjson.loads, kept)
            if log.format is Format.CLOUDTRAIL and _is_a_body(kept):
                text = "this is the body of a message with S3 events, not a log file: explain it with --body"
                yield {"source": _shown(source), "error": "NotALogFile", "message": text}

    def of_body(self, source: str) -> Iterator[Explanation]:
        """Of what a message announces. `source`: a file with its body, or the body itself."""
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

    def _log_source(self, bucket: str | None, given: str | None, key: str) -> LogSource:
        """The configured source of a log file. Raises `SettingsError` if it may be one of several that differ."""
        if bucket:
            source = self._sources.of(bucket, key)
            if source is None:
                raise BucketNotAllowed.of(bucket, key)
            return source
        named = format_of(key)
        possible = {(named or each.format, each.on_bad_record): each for each in self._sources.possible(given)}
        if len(possible) > 1:
            raise SettingsError(["several of the configured `logs` may hold this file: name its bucket with --bucket"])
        return next(iter(possible.values()), LogSource(""))

    def _records_of(self, source: str, log: LogReader) -> Iterator[Explanation]:
        name = _shown(source)
        with _opened(source) as stream:
            while chunk := stream.read(CHUNK):
                for records in log.feed(chunk):
                    yield from (self._of_record(name, record) for record in records)
        for records in log.finish():
            yield from (self._of_record(name, record) for record in records)
        for error in log.bad.first:
            where = {"index": error.index, "offset": error.offset, "field": error.field or None}
            yield _failure(name, error) | where | {"on_bad_record": log.bad.policy}
        if log.bad.count:
            yield {"source": name, "bad_records": log.bad.count}

    def _of_record(self, source: str, record: Record) -> Explanation:
        decision = self._decisions.decide(record)
        skipped = isinstance(decision, Skip)
        return {
            "source": source,
            "kind": record.kind.value if isinstance(record, ObjectEvent) else None,
            "bucket": record.bucket or None,
            "key": record.key if isinstance(record, ObjectEvent) else record.key or None,
            "time": _iso(record.time) if record.time and record.time != UNKNOWN_TIME else None,
            "event_id": record.event_id or None,
            "name": record.name or None,
            "decision": "skip" if skipped else "refresh",
            "reason": decision.reason.value if isinstance(decision, Skip) else None,
            "folders": [] if isinstance(decision, Skip) else [str(folder) for folder in decision.folders],
        }


def as_lines(sources: Iterable[Iterator[Explanation]], output: IO[str]) -> bool:
    """One JSON object a line. Returns whether all could be read."""
    good = True
    for explanations in sources:
        for explanation in explanations:
            good = good and not _is_failure(explanation)
            output.write(orjson.dumps(explanation).decode() + "\n")
    return good


def as_table(sources: Iterable[Iterator[Explanation]], output: IO[str]) -> bool:
    """A table for each source, its sum, and what could not be read. Returns whether everything could be read."""
    console = Console(file=output, width=None if output.isatty() else PIPED_WIDTH)
    good = True
    for explanations in sources:
        rows = list(explanations)
        problems = [row for row in rows if "error" in row]
        decided = [row for row in rows if "decision" in row or "announcement" in row]
        good = good and not any(map(_is_failure, problems))
        if decided or not problems:
            source = next((row["source"] for row in decided), "nothing")
            console.print(_table(decided))
            console.print(_text(f"{source}: {_sum(rows)}", style="bold"), soft_wrap=True)
        for rule in dict.fromkeys(row["rule"] for row in rows if "rule" in row):
            console.print(_text(f"{source}: read by {rule}"), soft_wrap=True)
        for row in problems:
            console.print(_problem(row), soft_wrap=True)
        if (more := sum(row.get("bad_records", 0) for row in rows) - len(problems)) > 0:
            console.print(
                _text(f"{problems[0]['source']}: {_number(more, 'more bad record')}", style="yellow"), soft_wrap=True
            )
    return good


def _problem(row: Explanation) -> Text:
    text = f"{row['source']}: {row['error']}: {row['message']}"
    if row.get("offset") is not None:
        text += f" (offset {row['offset']})"
    if not _is_failure(row):
        return _text(f"{text}: skipped", style="yellow")
    return _text(f"{text}: the message is rejected after all else is done" if "index" in row else text, style="red")


def _is_a_body(kept: IO[bytes]) -> bool:
    """Whether all of these explanations are of S3 events. Their names have a colon; those of CloudTrail's calls do not."""
    kept.seek(0)
    names = [orjson.loads(line).get("name") or "" for line in kept]
    return bool(names) and all(":" in name for name in names)


def _is_failure(explanation: Explanation) -> bool:
    """A bad record that its source allows to skip is not a failure."""
    return "error" in explanation and explanation.get("on_bad_record") != "skip"


def _table(rows: list[Explanation]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("time", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("object", overflow="fold")
    table.add_column("decision", overflow="fold")
    for row in rows:
        where = "/".join(part for part in (row["bucket"], row["key"]) if part)
        what = row.get("announcement") or row.get("name") or row.get("kind")
        table.add_row(_text(_clock(row.get("time"))), _text(str(what or "")), _text(where), _decided(row))
    return table


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _clock(time: str | None) -> str:
    return time[5:19].replace("T", " ") if time else ""


def _decided(row: Explanation) -> Text:
    if "announcement" in row:
        return _text(row.get("about") or "read it")
    if row["decision"] == "skip":
        return _text(f"skip: {row['reason']}", style="dim")
    return _text(f"refresh {', '.join(row['folders'])}", style="green")


def _sum(rows: list[Explanation]) -> str:
    """What the rows of one source come to, in words."""
    records = [row for row in rows if "decision" in row]
    skipped = Counter(row["reason"] for row in records if row["decision"] == "skip")
    folders = {folder for row in records for folder in row["folders"]}
    bad = sum(row.get("bad_records", 0) for row in rows)
    # An unreadable record of a message may also be explained by its bucket, which is stale.
    unreadable = 0 if bad else sum("index" in row for row in rows)
    files = sum(row.get("announcement") == "log-file" for row in rows)
    nothing = sum(row.get("announcement") == "nothing" for row in rows)
    asking = len(records) - skipped.total()
    parts = []
    if records or not (files or nothing):
        parts.append(_number(len(records) + bad, "record"))
    if asking:
        parts.append(f"{asking} for a refresh of {_number(len(folders), 'folder')}")
    parts += [f"{count} {reason}" for reason, count in skipped.most_common()]
    parts += [f"{bad} bad"] if bad else []
    parts += [f"{unreadable} not readable"] if unreadable else []
    parts += [f"{_number(files, 'log file')} to read"] if files else []
    parts += [f"{nothing} with nothing to do"] if nothing else []
    return ", ".join(parts)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _body(source: str) -> tuple[str, str]:
    """The text of a body, and what to call where it came from."""
    if source == "-":
        return sys.stdin.read(), "-"
    is_text = source.lstrip().startswith(("{", "[")) or " " in source.strip()
    if is_text and not _is_file(source):
        return source, _shown(source)
    return Path(source).read_text(encoding="utf-8"), source


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False  # too long for a name, or with a NUL: no file


def _opened(source: str) -> BinaryIO:
    return sys.stdin.buffer if source == "-" else Path(source).open("rb")


def _failure(source: str, error: Exception) -> Explanation:
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    # An error may quote what is not UTF-8.
    message = message.encode("utf-8", "backslashreplace").decode()
    return {"source": source, "error": type(error).__name__, "message": message}


def _is_utf8(text: str) -> bool:
    """Words of the command line have half of a surrogate pair in place of a byte that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _body_failure(source: str, error: Exception) -> Explanation:
    failure = _failure(source, error)
    if isinstance(error, AnnouncementUnknown):
        failure["message"] += " (a log file is explained without --body)"
    return failure


def _shown(source: str) -> str:
    """A file's name need not be UTF-8, and a body may be long."""
    text = source.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _iso(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat()
    return text.replace("+00:00", "Z")
