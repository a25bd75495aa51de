"""Compares one folder: what S3 has directly in it, and what Access Anywhere shows in it.

Both sides are sorted by `order`, so that a folder with a million entries needs no memory. Access Anywhere's names ignore
case. So the entries whose names differ only in case are one group, and each group is compared by itself:

    missing      S3 has an object, and Access Anywhere shows nothing of that name
    stale        both have it, and Access Anywhere shows another size, or the time of an older version
    extra        Access Anywhere shows a file that S3 does not have
    unshowable   S3 has it, and Access Anywhere has no name for it: the name is empty, `.` or `..`, or another object or
                 folder of that name is shown in its place

Only objects count. A folder without objects is no difference, because S3 has no empty folders.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import groupby
from typing import Final

import msgspec

from jibe_sqs.core.key_names import leading_names

TIME_TOLERANCE: Final = 5.0
"""Seconds. Access Anywhere shows whole seconds, and for its own uploads perhaps its own time in place of S3's."""


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One object, file or folder directly in a folder. `modified`: seconds since the epoch; None if it is not known.

    `id`: of a folder in Access Anywhere. `trashed`: Access Anywhere keeps it in its trash, and S3 may have it or not.
    """

    name: str
    is_folder: bool = False
    size: int = 0
    modified: float | None = None
    id: str = ""
    trashed: bool = False


def order(entry: Entry) -> tuple[str, str, bool]:
    """The order of both sides."""
    return entry.name.casefold(), entry.name, entry.is_folder


class Kind(StrEnum):
    """How Access Anywhere's index differs from S3."""

    MISSING = "missing"
    STALE = "stale"
    EXTRA = "extra"
    UNSHOWABLE = "unshowable"


class Same(msgspec.Struct, frozen=True):
    """An object that Access Anywhere shows as it is."""


class Difference(msgspec.Struct, frozen=True):
    """An object, or a file of Access Anywhere, that differs."""

    kind: Kind
    name: str


class Subfolder(msgspec.Struct, frozen=True):
    """A folder to look into. `kind`: if it is set, then all objects in it and below it differ in this way.

    `id` is empty if Access Anywhere does not show the folder.
    """

    name: str
    id: str = ""
    kind: Kind | None = None


Outcome = Same | Difference | Subfolder

SAME: Final = Same()


class View(msgspec.Struct, frozen=True):
    """How the two sides are read.

    `listed_at`: when the listing of S3 was made, if that was long ago, in seconds since the epoch. Whatever Access
    Anywhere shows of later times is no difference. `before`: objects that changed in S3 at this time or later are no
    differences: Access Anywhere may not know of them yet. `compares_times`: a file with the right size and an older time
    is stale.
    """

    listed_at: float = float("inf")
    before: float = float("inf")
    compares_times: bool = True


def outcomes(stored: Iterable[Entry], shown: Iterable[Entry], view: View) -> Iterator[Outcome]:
    """Compare the sides of one folder. Each is sorted by `order`; the outcomes are, too, but for their case."""
    for ours, theirs in _groups(iter(stored), iter(shown)):
        if len(ours) == 1 and len(theirs) == 1 and ours[0].is_folder is theirs[0].is_folder:
            # Nearly all groups. The names may differ in case.
            yield from _pair(ours[0], theirs[0], view)
        else:
            yield from _group(ours, theirs, view)


def is_stale(stored: Entry, shown: Entry, view: View) -> bool:
    """Whether Access Anywhere shows an older version of the object.

    Only an older time proves that. A later one does not: the time of an upload through Access Anywhere may be its own.
    """
    if shown.size != stored.size:
        return True
    if not view.compares_times or shown.modified is None or stored.modified is None:
        return False
    return shown.modified + TIME_TOLERANCE < stored.modified


def _pair(stored: Entry, shown: Entry, view: View) -> Iterator[Outcome]:
    name = stored.name
    if not leading_names([name]):
        yield Subfolder(name, kind=Kind.UNSHOWABLE) if stored.is_folder else Difference(Kind.UNSHOWABLE, name)
    elif stored.is_folder:
        yield Subfolder(name, shown.id)
    elif is_stale(stored, shown, view) and not _is_later(shown, view.listed_at) and not _is_later(stored, view.before):
        yield Difference(Kind.STALE, name)
    else:
        yield SAME


def _group(ours: list[Entry], theirs: list[Entry], view: View) -> Iterator[Outcome]:
    """Compare entries whose names differ only in case. First by their exact names, then each with what is left."""
    left = list(theirs)
    unmatched: list[Entry] = []
    for stored in ours:
        found = _taken(left, lambda shown, stored=stored: shown.name == stored.name and _alike(shown, stored))  # type: ignore[misc]
        if found is None:
            unmatched.append(stored)
        else:
            yield from _pair(stored, found, view)
    # A name in another case: the entry that is most like it.
    others: list[Entry] = []
    for stored in unmatched:
        found = _taken(left, lambda shown, stored=stored: _alike(shown, stored))  # type: ignore[misc]
        if found is None:
            others.append(stored)
        else:
            yield from _pair(stored, found, view)
    is_name_taken = len(others) < len(ours)
    for position, stored in enumerate(others):
        # If nothing of that name is shown, one of them should be.
        is_showable = bool(leading_names([stored.name])) and not is_name_taken and position == 0
        yield from _unshown(stored, Kind.MISSING if is_showable else Kind.UNSHOWABLE, view)
    for shown in left:
        yield from _extra(shown, view)


def _unshown(stored: Entry, kind: Kind, view: View) -> Iterator[Outcome]:
    if stored.is_folder:
        yield Subfolder(stored.name, kind=kind)
    elif kind is Kind.MISSING and _is_later(stored, view.before):
        yield SAME
    else:
        yield Difference(kind, stored.name)


def _extra(shown: Entry, view: View) -> Iterator[Outcome]:
    if shown.trashed or not leading_names([shown.name]):
        return
    if shown.is_folder:
        yield Subfolder(shown.name, shown.id, Kind.EXTRA)
    elif not _is_later(shown, view.listed_at):
        yield Difference(Kind.EXTRA, shown.name)


def _alike(shown: Entry, stored: Entry) -> bool:
    return shown.is_folder is stored.is_folder


def _is_later(entry: Entry, time: float) -> bool:
    return entry.modified is not None and entry.modified + TIME_TOLERANCE >= time


def _taken(entries: list[Entry], fits: Callable[[Entry], bool]) -> Entry | None:
    for at, entry in enumerate(entries):
        if fits(entry):
            return entries.pop(at)
    return None


def _groups(stored: Iterator[Entry], shown: Iterator[Entry]) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """The entries of both sides with one name, in the order of the names."""
    sides = [groupby(side, key=lambda entry: entry.name.casefold()) for side in (stored, shown)]
    heads = [_next(side) for side in sides]
    while any(heads):
        names = [head[0] for head in heads if head]
        least = min(names)
        found = []
        for at, head in enumerate(heads):
            if head and head[0] == least:
                found.append(head[1])
                heads[at] = _next(sides[at])
            else:
                found.append([])
        yield found[0], found[1]


def _next(groups: "groupby[str, Entry]") -> tuple[str, list[Entry]] | None:
    for name, entries in groups:
        return name, list(entries)
    return None
