"""Whether an object is shown as it is in S3, and if not, why, and what to do: a verdict on facts, without asking anything.

The causes are in an order: one that explains everything comes before one that may only contribute.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.commands.object_facts import ObjectFacts, ServiceFacts, Shown, Stored, Unknown
from jibe_sqs.core.comparison import Entry, View, is_stale
from jibe_sqs.core.history import FileRead, FolderRefreshed, HistoryQuestion
from jibe_sqs.core.key_names import leading_names
from jibe_sqs.core.model import SkipReason
from jibe_sqs.core.phrases import counted, utc_iso

DELIVERY: Final = 900.0
"""Seconds from a change until its log file is read at the latest. CloudTrail delivers most files within five minutes."""
LONG_SILENCE: Final = 3600.0
"""Seconds without a log file or an event that are suspicious even while a change is too young to be expected."""
TOLERANCE: Final = 5.0
"""Seconds by which times of a log and of S3 may differ."""
_CHECK_WHAT_SENDS: Final = (
    "run `jibe-sqs check`: the SNS subscription may be removed, or the trail stopped; then read what was missed with "
    "`jibe-sqs backfill`"
)
LOG_BUCKET_ERRORS: Final = frozenset({"LogAccessDenied", "LogBucketMissing", "LogBucketDown", "BucketNotAllowed"})


class Verdict(StrEnum):
    """The answer."""

    IN_SYNC = "in-sync"
    STALE = "stale"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """Why an object is not shown as it is, or why that is not known. For programs; docs/how-to/why.md describes each."""

    NOT_MAPPED = "not-mapped"
    KEY_CANNOT_BE_SHOWN = "key-cannot-be-shown"
    IGNORED = "ignored"
    ACCESS_ANYWHERE_DOWN = "access-anywhere-down"
    ACCESS_ANYWHERE_ERROR = "access-anywhere-error"
    S3_UNKNOWN = "s3-unknown"
    FOLDER_FAILS = "folder-fails"
    LOG_BUCKET_UNREADABLE = "log-bucket-unreadable"
    QUEUE_UNUSABLE = "queue-unusable"
    REFRESH_PENDING = "refresh-pending"
    OWN_WRITE = "own-write"
    DEAD_LETTER = "dead-letter"
    NAME_COLLISION = "name-collision"
    REFRESHED_BUT_DIFFERS = "refreshed-but-differs"
    NOT_EXPECTED_YET = "not-expected-yet"
    NOTHING_RECEIVED = "nothing-received"
    NO_LOG_NAMES_IT = "no-log-names-it"
    SERVICE_UNREACHABLE = "service-unreachable"


class Reason(msgspec.Struct, frozen=True):
    """One reason: what is the case, and what to do."""

    code: Cause
    what: str
    remedy: str


class Answer(msgspec.Struct, frozen=True):
    """The verdict and its reasons, the most likely first. Without reasons if the object is in sync."""

    verdict: Verdict
    reasons: list[Reason] = []


def answer(facts: ObjectFacts) -> Answer:
    """Decide."""
    unknown = list(_unknown(facts))
    if unknown and isinstance(facts.shown, Unknown):
        return Answer(Verdict.UNKNOWN, unknown)
    if not facts.shown:
        return Answer(Verdict.UNKNOWN if unknown else Verdict.STALE, [_not_mapped(facts), *unknown])
    if not unknown and all(_is_shown_as_it_is(facts, shown) for shown in _shown(facts)):
        return Answer(Verdict.IN_SYNC)
    causes = list(_causes(facts))
    if unknown and all(_is_shown_as_it_is(facts, shown) is not False for shown in _shown(facts)):
        known = {each.code for each in unknown}
        return Answer(Verdict.UNKNOWN, [*unknown, *(each for each in causes if each.code not in known)])
    if _is_too_early(facts) and not causes:
        hint = _silence(facts) if _unexpected(facts) or _is_silent(facts, facts.now - LONG_SILENCE) else []
        return Answer(Verdict.UNKNOWN, [_not_expected_yet(facts), *hint, *_unreachable(facts)])
    return Answer(Verdict.STALE, [*(causes or _silence(facts)), *unknown, *_unreachable(facts)])


def _shown(facts: ObjectFacts) -> list[Shown]:
    return [] if isinstance(facts.shown, Unknown) else list(facts.shown)


def _unknown(facts: ObjectFacts) -> Iterator[Reason]:
    """What could not be found out."""
    asked = [facts.shown] if isinstance(facts.shown, Unknown) else [shown.entry for shown in facts.shown]
    for each in asked:
        if isinstance(each, Unknown):
            yield _access_anywhere(each, facts.service)
            break
    if isinstance(facts.stored, Unknown):
        yield Reason(
            Cause.S3_UNKNOWN,
            f"what S3 has is not known: {facts.stored.reason}",
            f"allow s3:GetObject on the object, or s3:ListBucket on {facts.bucket}, to the credentials of `aws`",
        )


def _access_anywhere(unknown: Unknown, service: ServiceFacts | None) -> Reason:
    if unknown.is_outage:
        # The service knows more of an outage than a command that waited for an answer in vain.
        known = service.gates[0] if service and service.gates else ""
        return _outage(known or f"Access Anywhere does not answer: {unknown.reason}")
    return Reason(
        Cause.ACCESS_ANYWHERE_ERROR,
        f"Access Anywhere refuses to say what it shows: {unknown.reason}",
        "run `jibe-sqs check`: it tries the login, the folders and a refresh",
    )


def _outage(what: str) -> Reason:
    return Reason(
        Cause.ACCESS_ANYWHERE_DOWN,
        what,
        "repair Access Anywhere, or the way to it; the messages wait, and the service goes on by itself",
    )


def _not_mapped(facts: ObjectFacts) -> Reason:
    return Reason(
        Cause.NOT_MAPPED,
        f"no place of Access Anywhere shows {facts.url}, as far as jibe-sqs knows, so its changes are skipped",
        f"add {facts.bucket} to `buckets` in the settings, or to a provider of Access Anywhere if `buckets` is not set: "
        "within minutes the service takes that over, and refreshes what is new",
    )


def _is_shown_as_it_is(facts: ObjectFacts, shown: Shown) -> bool | None:
    """None if it is not known."""
    stored, entry = facts.stored, shown.entry
    if isinstance(stored, Unknown) or isinstance(entry, Unknown):
        return None
    if stored is None or entry is None:
        return stored is None and entry is None
    if entry.is_folder:
        # Consoles create a folder as an object whose key ends in a slash.
        return facts.key.endswith("/")
    name = facts.key.rpartition("/")[2]
    return not is_stale(Entry(name, size=stored.size, modified=stored.modified), entry, View())


def _causes(facts: ObjectFacts) -> Iterator[Reason]:
    """Causes that are seen, not only suspected."""
    if (reason := _unshowable(facts)) is not None:
        yield reason
        return
    if facts.ignored_by:
        yield Reason(
            Cause.IGNORED,
            f"{facts.ignored_by} ignores this key, so its changes are skipped",
            f"remove the pattern if the key is of interest; then {_refresh(facts)}",
        )
    yield from _of_service(facts)
    yield from _of_folders(facts)
    yield from _of_own_writes(facts)
    yield from _of_letters(facts)
    if alike := [name for shown in _shown(facts) for name in shown.alike]:
        yield Reason(
            Cause.NAME_COLLISION,
            f"Access Anywhere shows another name in its place, which differs only in case or is a folder: {alike[0]}",
            "rename one of the two in S3: Access Anywhere ignores case, and shows one of them",
        )
    if (moment := _refreshed_since(facts)) is not None:
        yield Reason(
            Cause.REFRESHED_BUT_DIFFERS,
            f"the folder was refreshed at {utc_iso(moment)}, after the change, and Access Anywhere still shows something else",
            f"{_refresh(facts)}; if that changes nothing, look for the object in Access Anywhere's provider: its bucket, "
            "prefix and permissions",
        )


def _unshowable(facts: ObjectFacts) -> Reason | None:
    names = facts.key.removesuffix("/").split("/")
    if len(leading_names(names)) == len(names):
        return None
    return Reason(
        Cause.KEY_CANNOT_BE_SHOWN,
        "a name in the key is empty, `.` or `..`: Access Anywhere has no name for such an object",
        "copy the object to another key in S3",
    )


def _of_service(facts: ObjectFacts) -> Iterator[Reason]:
    if facts.service is None:
        return
    for gate in facts.service.gates:
        yield _outage(gate)
    for outage in facts.service.outages:
        yield _log_bucket(outage)
    for trouble in facts.service.troubles:
        yield Reason(
            Cause.QUEUE_UNUSABLE,
            trouble,
            "run `jibe-sqs check`: it says what is wrong with the queue; its messages wait",
        )


def _log_bucket(what: str) -> Reason:
    return Reason(
        Cause.LOG_BUCKET_UNREADABLE,
        what,
        "allow s3:GetObject on the log bucket, and kms:Decrypt on its key, to the service; check `logs`; the messages wait. "
        "Redrive those that are dead letters: `jibe-sqs dead-letters redrive`",
    )


def _of_folders(facts: ObjectFacts) -> Iterator[Reason]:
    failures = {each.folder.path: each.error for each in facts.folders if each.error}
    for path in {each.folder.path for each in _shown(facts)} - failures.keys():
        if error := _last_error(facts, path):
            failures[path] = error
    for path, error in failures.items():
        yield Reason(
            Cause.FOLDER_FAILS,
            f"the last refresh of {path} failed: {error}",
            f"open the folder in Access Anywhere: it must exist, and the account must see it; then {_refresh(facts)}",
        )
    for each in facts.folders:
        if each.waited is not None and each.folder.path not in failures:
            yield Reason(
                Cause.REFRESH_PENDING,
                f"a refresh of {each.folder.path} is pending for {each.waited:,.0f} s, for {each.reason}",
                "wait for it; if it takes minutes, see the load of Access Anywhere, and `access_anywhere.concurrency`",
            )


def _last_error(facts: ObjectFacts, path: str) -> str:
    """The error of the folder's last refresh, by the history. Empty if that succeeded, or none is known."""
    question = HistoryQuestion((path,))
    for each in reversed(_history(facts)):
        if isinstance(each, FolderRefreshed) and question.concerns(each):
            return f"{each.error}: {each.text}" if each.error else ""
    return ""


def _of_own_writes(facts: ObjectFacts) -> Iterator[Reason]:
    """A log file with the time of the change has changes that were skipped as Access Anywhere's own."""
    if _refreshed_since(facts) is not None:
        return
    for each in reversed(_history(facts)):
        skipped = each.skipped.get(facts.bucket, {}) if isinstance(each, FileRead) else {}
        if isinstance(each, FileRead) and skipped.get(SkipReason.OWN_WRITE.value) and _has_time_of(each, facts.stored):
            rules = "; ".join(
                f"{rule}, such as by {who or 'a caller without a name'}" for rule, who in each.own_writes.items()
            )
            yield Reason(
                Cause.OWN_WRITE,
                f"changes in {facts.bucket} at that time were skipped as Access Anywhere's own writes: "
                f"{rules or 'a rule of own_writes'}",
                "if others write with this identity, make `own_writes` narrower (`jibe-sqs principals` lists the callers); "
                "then read what was skipped with the `jibe-sqs backfill` that the service names in its log "
                f"(settings_changed), or for this folder alone {_refresh(facts)}",
            )
            return


def _has_time_of(read: FileRead, stored: Stored | Unknown | None) -> bool:
    if not isinstance(stored, Stored) or not read.first:
        return True
    return read.first - TOLERANCE <= stored.modified <= read.last + TOLERANCE


def _of_letters(facts: ObjectFacts) -> Iterator[Reason]:
    letters = [] if isinstance(facts.letters, Unknown) else facts.letters
    if named := [each for each in letters if each.names_it]:
        first = named[0]
        yield Reason(
            Cause.DEAD_LETTER,
            f"{counted(len(named), 'dead letter names', 'dead letters name')} it, such as {first.id}: {first.error}: {first.reason}",
            f"repair the cause; then `jibe-sqs dead-letters redrive {first.id}`",
        )
    unread = [each for each in letters if each.error in LOG_BUCKET_ERRORS and not each.names_it]
    if unread and not (facts.service and facts.service.outages):
        letters_name = counted(len(unread), "dead letter names", "dead letters name")
        yield _log_bucket(f"{letters_name} log files that could not be read: {unread[0].reason}")


def _silence(facts: ObjectFacts) -> list[Reason]:
    """Nothing is seen to be wrong: then no log file has reached the service, or none that names the object."""
    if silences := _unexpected(facts):
        return [
            Reason(Cause.NOTHING_RECEIVED, f"{each}, and more was expected", _CHECK_WHAT_SENDS) for each in silences
        ]
    changed = facts.stored.modified if isinstance(facts.stored, Stored) else facts.now
    if _is_silent(facts, min(changed, facts.now - DELIVERY)):
        heard = _last_heard(facts)
        last = f"since {utc_iso(heard)}" if heard else "for as long as is remembered"
        return [
            Reason(
                Cause.NOTHING_RECEIVED,
                f"no log file and no event has been read {last}, although the bucket has changed",
                _CHECK_WHAT_SENDS,
            )
        ]
    return [
        Reason(
            Cause.NO_LOG_NAMES_IT,
            "log files have been read since the change, and none that is remembered asked for a refresh of its folder",
            "run `jibe-sqs check`: perhaps the trail does not log this bucket's data events, or the object was deleted by "
            f"S3 Lifecycle, which CloudTrail seldom logs; {_refresh(facts)}",
        )
    ]


def _unexpected(facts: ObjectFacts) -> Sequence[str]:
    """The silences that the service has noticed: other queues may go on, so they count even if log files have been read."""
    return facts.service.silences if facts.service else ()


def _is_silent(facts: ObjectFacts, since: float) -> bool:
    """Whether nothing has been read since that time: no log file, and no message with events."""
    if (heard := _last_heard(facts)) is not None:
        return heard < since
    # A service that has just started may not have heard of anything yet.
    is_settled = facts.service is not None and facts.service.running > DELIVERY
    return not isinstance(facts.history, Unknown) or is_settled


def _last_heard(facts: ObjectFacts) -> float | None:
    """When the last log file or event was read; without a history, when the last message came. None if it is not known."""
    if not isinstance(facts.history, Unknown):
        return facts.newest_read
    return (facts.service.last_message or None) if facts.service else None


def _is_too_early(facts: ObjectFacts) -> bool:
    return isinstance(facts.stored, Stored) and facts.now - facts.stored.modified < DELIVERY


def _not_expected_yet(facts: ObjectFacts) -> Reason:
    age, due = 0.0, facts.now
    if isinstance(facts.stored, Stored):
        age, due = facts.now - facts.stored.modified, facts.stored.modified + DELIVERY
    return Reason(
        Cause.NOT_EXPECTED_YET,
        f"the object was written {max(age, 0):,.0f} s ago: its log file may not be delivered yet",
        f"wait until {utc_iso(due)}, and ask again; or {_refresh(facts)}",
    )


def _unreachable(facts: ObjectFacts) -> Iterator[Reason]:
    if facts.service is None:
        yield Reason(
            Cause.SERVICE_UNREACHABLE,
            "no running service answers at the control socket",
            "start the service; or run this command on its host, in its container, with its configuration, as its user",
        )


def _refreshed_since(facts: ObjectFacts) -> float | None:
    """When a successful refresh began after the change; None if there was none in all places."""
    stored = facts.stored
    watermarks = [each.watermark for each in facts.folders]
    if not isinstance(stored, Stored) or not watermarks:
        return None
    known = [watermark for watermark in watermarks if watermark is not None and watermark > stored.modified + TOLERANCE]
    return min(known) if len(known) == len(watermarks) else None


def _history(facts: ObjectFacts) -> list[FileRead | FolderRefreshed]:
    return [] if isinstance(facts.history, Unknown) else [each.entry for each in facts.history]


def _refresh(facts: ObjectFacts) -> str:
    return f"`jibe-sqs refresh '{facts.url}'`"
