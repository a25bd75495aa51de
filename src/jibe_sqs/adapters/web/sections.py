"""What the page shows below its first sentence, in this order. Each function makes one section of a snapshot."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from jibe_sqs.adapters.web.words import (
    NOTHING,
    code,
    moment,
    number,
    percent,
    shortened,
    span,
    tagged,
    utc,
    value,
)
from jibe_sqs.core.phrases import about, counted
from jibe_sqs.telemetry.status import DeadLetterStatus, FolderStatus, LoggedError, QueueStatus, Status

MAX_ROWS: Final = 20
"""Rows of a table. The page says how many there are beyond."""
MAX_SETTINGS: Final = 300
"""Rows of the table of settings."""

Cell = str | Markup


class Column(NamedTuple):
    """`kind`: a class of the style sheet, such as `number`."""

    title: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """`more`: the number of rows that are left out."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`note`: the section in one sentence, or why there is nothing in it. `is_folded`: it is opened by its reader."""

    id: str
    title: str
    note: Cell = ""
    tables: Sequence[Table] = field(default_factory=tuple)
    is_wide: bool = False
    is_folded: bool = False
    is_bad: bool = False


def sections(status: Status) -> list[Section]:
    """All sections in their order, except the charts."""
    return [make(status) for make in _ALL]


def queues(status: Status) -> Section:
    """Depth, age, last message of each queue."""
    columns = [
        Column("Queue"),
        Column("Waiting", "number"),
        Column("In work", "number"),
        Column("Oldest", "number"),
        Column("Last message", "number"),
    ]
    found = sorted(status.queues, key=lambda each: not each.trouble)
    table = _table("Queues", columns, found, lambda each: _queue(each, status.at))
    return Section(
        id="queues",
        title="Queues",
        note=""
        if found
        else "They are not known yet."
        if status.state == "starting"
        else "There is none: sweeps find the log files.",
        tables=[table] if found else [],
        is_wide=True,
        is_bad=any(each.trouble for each in found),
    )


def _queue(queue: QueueStatus, now: float) -> list[Cell]:
    name = code(queue.name)
    if queue.trouble:
        name += _problem(queue.trouble)
    elif queue.oldest and queue.retention and queue.oldest > queue.retention / 2:
        name += _problem(f"Its messages expire after {span(queue.retention)}.")
    return [name, number(queue.visible), number(queue.hidden), span(queue.oldest), moment(queue.last_message, now)]


def skips(status: Status) -> Section:
    """Records that were skipped, by reason."""
    found = sorted(status.skipped.items(), key=lambda each: -each[1])
    total = sum(status.skipped.values())
    columns = [Column("Reason"), Column("Records", "number"), Column("Share", "number")]
    table = _table(
        "Skipped records", columns, found, lambda each: [code(each[0]), number(each[1]), percent(each[1] / total)]
    )
    note = "Since the start." if total else "No record was skipped since the start."
    return Section(id="skipped", title="Skipped records", note=note, tables=[table] if total else [])


def folders(status: Status) -> Section:
    """The folders that fail, and the slowest."""
    now = status.at
    failing = _table(
        "Failing",
        [Column("Folder"), Column("Stale", "number"), Column("Tried", "number")],
        status.failing,
        lambda each: [_folder(each), moment(each.since, now), moment(each.at, now)],
    )
    slowest = _table(
        "Slowest",
        [Column("Folder"), Column("Took", "number"), Column("Ended", "number")],
        status.slowest,
        lambda each: [_folder(each), span(each.seconds), moment(each.at, now)],
    )
    note = "" if status.failing else "No folder fails." if status.slowest else "No folder fails, and none was slow."
    tables = [each for each in (failing, slowest) if each.rows]
    return Section(
        id="folders", title="Slow and failing folders", note=note, tables=tables, is_bad=bool(status.failing)
    )


def _folder(folder: FolderStatus) -> Cell:
    name = code(folder.path)
    if folder.tree:
        name += Markup(' <span class="remark">with all below it</span>')
    return name + _problem(folder.error) if folder.error else name


def dead_letters(status: Status) -> Section:
    """Messages in the dead-letter queues, with reasons."""
    table = _table(
        "Dead letters",
        [Column("Reason"), Column("When", "number")],
        sorted(status.dead_letters, key=lambda each: -each.at),
        lambda each: [
            code(each.error) + _remark(_reason(each)) + _remark(f"from {each.queue}"),
            moment(each.at, status.at),
        ],
    )
    note = (
        Markup("See them with <code>jibe-sqs dead-letters</code>.")
        if status.dead_letters
        else "No message was dead-lettered since the start."
    )
    return Section(
        id="dead-letters",
        title="Dead letters",
        note=note,
        tables=[table] if table.rows else [],
        is_bad=bool(status.dead_letters),
    )


def unmapped(status: Status) -> Section:
    """Changes that the configuration skips."""
    buckets = _table(
        "Buckets that Access Anywhere does not show",
        [Column("Bucket, and the latest key"), Column("Changes", "number")],
        sorted(status.unmapped, key=lambda each: -each.count),
        lambda each: [code(each.bucket) + _remark(each.key), number(each.count)],
    )
    own = _table(
        "Taken for Access Anywhere’s own writes",
        [Column("Bucket, and the rule of own_writes"), Column("Changes", "number")],
        sorted(status.own_writes, key=lambda each: -each.count),
        lambda each: [code(each.bucket) + _remark(each.rule), number(each.count)],
    )
    note = "" if status.unmapped else "No change was skipped because its bucket is not mapped."
    return Section(
        id="unmapped",
        title="Unmapped buckets",
        note=note,
        tables=[each for each in (buckets, own) if each.rows],
        is_bad=bool(status.unmapped),
    )


def comparison(status: Status) -> Section:
    """What the continuous comparison found."""
    found = status.comparison
    title = "Comparison with S3"
    if found is None:
        return Section(
            id="comparison", title=title, note=Markup("Off. <code>compare.every</code> compares each folder with S3.")
        )
    rows: list[tuple[str, Cell]] = [
        ("Right", NOTHING if found.ratio is None else percent(found.ratio)),
        ("Objects compared", number(found.objects)),
        ("Wrong", number(found.wrong)),
        ("Not repaired", number(found.unrepaired)),
        ("Last whole round", moment(found.ended, status.at)),
    ]
    if found.is_running:
        rows.append(("Present round began", moment(found.began, status.at)))
    table = _table(title, [Column("What"), Column("Found", "number")], rows, list)
    note = "" if found.ended else "No round has ended yet."
    return Section(id="comparison", title=title, note=note, tables=[table], is_bad=found.unrepaired > 0)


def errors(status: Status) -> Section:
    """Warnings and errors of the log."""
    columns = [Column("Event"), Column("Times", "number"), Column("Last", "number")]
    table = _table(
        "Last errors and warnings",
        columns,
        sorted(status.errors, key=lambda each: -each.at),
        lambda each: [
            tagged(each.level, "level error" if each.level in ("error", "critical") else "level")
            + Markup(" ")
            + code(each.event)
            + _remark(": ".join(part for part in (each.error, _reason(each)) if part)),
            number(each.count),
            moment(each.at, status.at),
        ],
    )
    note = "" if status.errors else "No warning and no error since the start."
    return Section(
        id="errors", title="Last errors and warnings", note=note, tables=[table] if table.rows else [], is_wide=True
    )


def access_anywhere(status: Status) -> Section:
    """The calls of Access Anywhere."""
    found = status.access_anywhere
    calls = sorted(found.calls.items(), key=lambda each: -each[1])
    table = _table(
        "Calls", [Column("Call"), Column("Times", "number")], calls, lambda each: [code(each[0]), number(each[1])]
    )
    work = f"{counted(found.running, 'refresh', 'refreshes')} of {found.limit:,} at a time, {found.waiting:,} wait."
    note = code(found.endpoint) + f" {work}" if found.endpoint else Markup.escape(work)
    return Section(
        id="access-anywhere",
        title="Access Anywhere",
        note=note if found.endpoint or found.limit else "It is not called yet.",
        tables=[table] if calls else [],
    )


def principals(status: Status) -> Section:
    """Who changes objects."""
    columns = [Column("Principal"), Column("Own writes"), Column("Events", "number"), Column("Last", "number")]
    found = sorted(status.principals, key=lambda each: -each.count)
    table = _table(
        "Principals",
        columns,
        found,
        lambda each: [
            code(each.name) + (Markup(' <span class="remark">only reads</span>') if each.only_reads else ""),
            code(each.rule) if each.rule else "no",
            number(each.count),
            moment(each.last, status.at),
        ],
    )
    return Section(
        id="principals",
        title="Principals",
        note="" if found else "No principal was seen yet.",
        tables=[table] if found else [],
        is_wide=True,
        is_folded=bool(found),
    )


def costs(status: Status) -> Section:
    """Events that cost money and are of no use."""
    found = sorted(status.costs, key=lambda each: -each.dollars)
    table = _table(
        "Events of no use",
        [Column("What"), Column("Events", "number"), Column("A month", "number")],
        found,
        lambda each: [
            Markup.escape(shortened(each.what)) + _remark(each.remedy),
            number(each.events),
            f"${each.dollars:,.2f}" if each.dollars else "no price",
        ],
    )
    counted_for = max((each.seconds for each in found), default=0.0)
    rate = f"At the rate of the last {about(counted_for)}, and list prices." if counted_for else "At the present rate."
    note = rate if found else "No events that could be avoided were seen."
    return Section(id="costs", title="Avoidable costs", note=note, tables=[table] if found else [])


def pauses(status: Status) -> Section:
    """Pauses that an operator asked for."""
    table = _table(
        "Pauses",
        [Column("Provider"), Column("Ends", "number"), Column("Waiting folders", "number")],
        status.pauses,
        lambda each: [
            (code(each.provider) if each.provider else Markup("All")) + _remark(each.reason),
            moment(each.until, status.at),
            number(each.waiting),
        ],
    )
    note = Markup("<code>jibe-sqs resume</code> ends a pause.") if status.pauses else "Nothing is paused."
    return Section(id="pauses", title="Pauses", note=note, tables=[table] if table.rows else [])


def totals(status: Status) -> Section:
    """Counts since the start."""
    found = list(status.totals.items())
    table = _table(
        "Counts", [Column("Count"), Column("Number", "number")], found, lambda each: [code(each[0]), number(each[1])]
    )
    note = f"Since {utc(status.started)}." if status.started else ""
    return Section(
        id="totals",
        title="Counts since the start",
        note=note if found else "There are no counts yet.",
        tables=[table] if found else [],
        is_wide=True,
        is_folded=bool(found),
    )


def settings(status: Status) -> Section:
    """The settings that are in use."""
    columns = [Column("Setting"), Column("Value"), Column("Source")]
    table = _table(
        "Settings",
        columns,
        status.settings,
        lambda each: [code(each.name), value(each.value), shortened(each.source)],
        at_most=MAX_SETTINGS,
    )
    note: Cell = "Secrets are masked." if table.rows else "The settings are not known yet."
    if status.settings_problem:
        note = Markup.escape("These settings are in use. Changed settings are not in force.") + _problem(
            status.settings_problem
        )
    return Section(
        id="settings",
        title="Settings",
        note=note,
        tables=[table] if table.rows else [],
        is_wide=True,
        is_folded=bool(table.rows),
        is_bad=bool(status.settings_problem),
    )


_ALL: Final = (
    queues,
    access_anywhere,
    skips,
    folders,
    dead_letters,
    unmapped,
    comparison,
    errors,
    principals,
    costs,
    pauses,
    totals,
    settings,
)


def _table(
    caption: str,
    columns: Sequence[Column],
    items: Iterable[Any],
    cells: Callable[[Any], Sequence[Cell]],
    *,
    at_most: int = MAX_ROWS,
) -> Table:
    listed = list(items)
    return Table(caption, columns, [cells(each) for each in listed[:at_most]], more=max(len(listed) - at_most, 0))


def _reason(failed: DeadLetterStatus | LoggedError) -> str:
    """The reason, without the name of its error if it begins with it."""
    return failed.reason.removeprefix(f"{failed.error}: ")


def _remark(text: str) -> Markup:
    """A line below a name; nothing for an empty text."""
    return tagged(text, "remark block") if text else Markup()


def _problem(text: str) -> Markup:
    return tagged(text, "problem")
