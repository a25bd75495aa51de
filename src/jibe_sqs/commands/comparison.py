"""Compares Access Anywhere's index with S3, folder by folder, and repairs what differs.

    read both sides ──differs──> read both again ──still differs──> count it ──repair──> refresh, read both again

A difference counts only if it is there twice, because both sides may change while they are read. The folders are visited as
S3's and Access Anywhere's listings show them, several at a time.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import count
from typing import Final

import msgspec

from jibe_sqs.commands.comparison_levels import Level, Levels
from jibe_sqs.commands.comparison_totals import FolderCounts, Totals
from jibe_sqs.concurrency.tree_walk import walk_tree
from jibe_sqs.core.comparison import Kind, Subfolder
from jibe_sqs.core.errors import AnswerMalformed, CallFailed, ComparisonError, JibeError, RefreshTimedOut
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.key_names import leading_names
from jibe_sqs.core.model import Folder

PORTION: Final = 5000
"""Subfolders that are visited before the next ones are read. A folder with fewer is read to its end first, so that it keeps
nothing open meanwhile."""
ONE_FOLDER_ERRORS: Final = (CallFailed, RefreshTimedOut, AnswerMalformed, ComparisonError)
"""Errors that concern one folder: the others are still compared."""

Repair = Callable[[Folder], Awaitable[Sequence[JibeError]]]
"""Refreshes a folder. Returns the errors."""


class Scope(msgspec.Struct, frozen=True):
    """What to compare: the keys of a bucket with this prefix (empty, or ends in `/`), and the folder that shows them.

    `ignore`: keys that match one of these do not count.
    """

    bucket: str
    prefix: str
    folder: str
    ignore: tuple[KeyFilter, ...] = ()

    @property
    def level(self) -> Level:
        """The folder at its top. A prefix that is no path has no folder."""
        names = self.prefix.split("/")[:-1]
        kind = Kind.UNSHOWABLE if len(leading_names(names)) < len(names) else None
        return Level(self.bucket, self.prefix, self.folder, kind=kind, ignore=self.ignore)


class Comparison:
    """Compares folders, and counts what it finds in `totals`.

    `first`: reads both sides. `again`: reads them to confirm a difference, from S3 itself also if `first` reads an
    inventory. `repair`: if given, what differs is refreshed and compared again. `is_chosen`: whether a folder belongs to
    the sample.
    """

    def __init__(
        self,
        first: Levels,
        *,
        again: Levels | None = None,
        repair: Repair | None = None,
        is_chosen: Callable[[], bool] = lambda: True,
        totals: Totals | None = None,
    ) -> None:
        self.totals = totals or Totals()
        self._first = first
        self._again = again or first
        self._repair = repair
        self._is_chosen = is_chosen

    async def run(self, scopes: Iterable[Scope], *, most: int) -> Totals:
        """Compare everything below each scope, `most` folders at a time."""
        self.totals.stage = "comparing"
        for scope in scopes:
            await self._walk(scope.level, most)
        return self.totals

    async def _walk(self, top: Level, most: int) -> None:
        # `walk_tree` knows nodes by their names. Only the levels that wait have one.
        waiting = {"": top}
        numbers = count()

        async def visit(name: str) -> AsyncGenerator[Iterable[str], None]:
            async with aclosing(self.visit(waiting.pop(name))) as portions:
                async for levels in portions:
                    named = {str(next(numbers)): level for level in levels}
                    waiting.update(named)
                    yield named

        await walk_tree("", visit, most=most)

    async def visit(self, level: Level) -> AsyncGenerator[list[Level], None]:
        """Compare one folder. Yields the folders below it, sorted by name; it is counted after the last of them."""
        if level.kind is not Kind.EXTRA and not self._is_chosen():
            # An extra folder belongs to the sample like the folder that it was found in.
            self.totals.skipped += 1
            async with aclosing(self._skipped(level)) as portions:
                async for skipped in portions:
                    yield skipped
            return
        found = FolderCounts()
        hidden: dict[str, Level] = {}
        try:
            portion: list[Level] = []
            async with aclosing(self._first.compare(level)) as outcomes:
                async for outcome in outcomes:
                    found.add(outcome)
                    if not isinstance(outcome, Subfolder):
                        continue
                    if self._repair is not None and _may_appear(outcome, level):
                        hidden[outcome.name] = level.below(outcome)
                    else:
                        portion.append(level.below(outcome))
                        if len(portion) == PORTION:
                            yield portion
                            portion = []
            yield portion
            await self._count(level, found)
            if hidden:
                yield await self._after_repair(level, hidden) if found.wrong else list(hidden.values())
        except ONE_FOLDER_ERRORS as error:
            self.totals.fail(level.path, error)

    async def _after_repair(self, level: Level, hidden: dict[str, Level]) -> list[Level]:
        """The hidden folders, as they are shown now: the refresh may have shown one of them in place of the object."""
        now = dict(hidden)
        async with aclosing(self._again.compare(msgspec.structs.replace(level, id="", kind=None))) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, Subfolder) and outcome.name in hidden:
                    now[outcome.name] = level.below(outcome)
        return list(now.values())

    async def _skipped(self, level: Level) -> AsyncGenerator[list[Level], None]:
        portion: list[Level] = []
        async with aclosing(self._first.subfolders(level)) as folders:
            async for each in folders:
                portion.append(level.below(each))
                if len(portion) == PORTION:
                    yield portion
                    portion = []
        yield portion

    async def _count(self, level: Level, found: FolderCounts) -> None:
        if found.wrong:
            found = await self._compared_again(level, found)
        if found.wrong and self._repair is not None:
            wrong = found.wrong
            for error in await self._repair(Folder(level.path)):
                if not isinstance(error, ONE_FOLDER_ERRORS):
                    raise error
                self.totals.fail(level.path, error)
            found = await self._compared_again(level, found)
            self.totals.repaired += wrong - found.wrong
        self.totals.add(level.bucket, level.prefix, level.path, found)

    async def _compared_again(self, level: Level, earlier: FolderCounts) -> FolderCounts:
        """Read both sides once more. The folder may have appeared or vanished, and its id may be another."""
        kind = level.kind if level.kind is Kind.UNSHOWABLE else None
        found = FolderCounts()
        async with aclosing(self._again.compare(msgspec.structs.replace(level, id="", kind=kind))) as outcomes:
            async for outcome in outcomes:
                found.add(outcome, only_in=earlier)
        found.limit_to(earlier)
        return found


def _may_appear(found: Subfolder, level: Level) -> bool:
    """Whether this is a folder that another name hides. Which of them is shown is known only after the repair."""
    return found.kind is Kind.UNSHOWABLE and level.kind is not Kind.UNSHOWABLE and bool(leading_names([found.name]))
