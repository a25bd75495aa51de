"""A ledger in one DynamoDB table, which any number of replicas share: what one has done, all know.

    pk                     attributes                    what it remembers
    f#BUCKET/KEY           etag, version                 a finished file
    w#FOLDER, t#FOLDER     began                         when its last good refresh began; or that of all below it
    p#WHO                  who, first, last, seen        who was seen to change objects, and how often

Each has `expires`, by which DynamoDB deletes it: some day, not on the minute, so that readers look for themselves.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.ledgers.identity import etag_of, is_same
from jibe_sqs.adapters.ledgers.table import MAX_GET, MAX_PUT, ConditionFailed, Item, Refused, Table
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.core.decisions import Seen
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Folder, LogFile

MAX_NAME_BYTES: Final = 2048 - 2
"""Bytes of a name as it stands, after `f#`; DynamoDB's limit is of both."""
MAX_TEXT_BYTES: Final = 8192
"""Bytes of a version, an etag or a principal: whoever announces or writes a file makes it up. A larger item would spoil
its batch, and be taken for a failure of the table's."""
OBSERVE_TRIES: Final = 5
"""Tries to write who was seen, where other replicas have just seen the same."""
CONFLICT_BACKOFF: Final = Backoff(first=0.1, longest=0.8, jitter=1.0)


class DynamoDbLedger:
    """An async context manager; its calls raise `LedgerError`."""

    def __init__(
        self,
        table: str,
        *,
        region: str | None,
        account: Account,
        aws: Aws,
        retain: float,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`retain`: seconds to remember what was written. `clock` (monotonic): for how long a sick table is left alone."""
        self._table = Table(table, region=region, account=account, aws=aws, clock=clock)
        self._retain = retain
        self._wall_clock = wall_clock
        self._finished = Batches[Item](self._table.put, size=MAX_PUT, linger=0.005)
        self._observed = Batches[tuple[str, Seen]](self._observe, size=MAX_GET)
        self._observing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Ask the table for something. Raises where no waiting would help: before the start somebody is there to mend it."""
        try:
            await self._table.ask()
        except Refused:
            raise
        except LedgerError:
            # We can do without: a replica starts also while DynamoDB is away. The first message says so.
            pass
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The connections are not ours to close."""

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this very file was finished. Consistent: a duplicate comes soon, and perhaps to another replica."""
        return not await self._unfinished([file], consistent=True)

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """Those of them that are not finished. What was finished within the last second may be among them."""
        # At half the price, for the thousands that a sweep asks about. What is not known yet is read once more.
        return await self._unfinished(files, consistent=False)

    async def finish(self, file: LogFile, etag: str) -> None:
        """Remember that it was. In the table when this returns."""
        with self._encodable():
            told = {"etag": etag_of(file, etag)} | ({} if file.version is None else {"version": file.version})
            for name, text in told.items():
                _check_length(text, f"the {name} of {file}")
            item = {"pk": _text(_file(file)), "expires": self._expires()}
            item |= {name: _text(text) for name, text in told.items()}
        await self._finished.add(item)

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last good refresh of each began, or the one before it."""
        # Not consistent, at half the price: a mark that is a second old is an earlier one, by which less is skipped.
        with self._encodable():
            keys = {folder: _folder(folder) for folder in folders}
        found = await self._known(keys.values())
        with self._legible():
            return {folder: _number(found[key]["began"]) for folder, key in keys.items() if key in found}

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Remember a good refresh. In the table when this returns."""
        with self._encodable():
            key, expires = _folder(folder), self._expires()
            mark = {":began": _numeral(began), ":now": _numeral(self._wall_clock()), ":expires": expires}
        try:
            await self._table.update_if(
                key,
                "SET began = :began, expires = :expires",
                "attribute_not_exists(pk) OR began < :began OR expires <= :now",
                mark,
            )
        except ConditionFailed:
            # Another replica's began later. It is as true as ever, so it is remembered for as long as if it were new.
            await self._prolong(key, expires)

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Remember who changed objects."""
        with self._encodable():
            for who in principals:
                _check_length(who, "a principal")  # all of a file, or none
        copies = ((who, Seen(seen.first, seen.last, seen.count)) for who, seen in principals.items())
        outcomes = await asyncio.gather(*(self._observed.add(each) for each in copies), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def principals(self) -> dict[str, Seen]:
        """All who were seen. Reads the whole table."""
        items = [item for kind in ("p#", "p:") for item in await self._table.scan(kind)]
        with self._legible():
            return {item["who"]["S"]: _seen(item) for item in items if self._is_alive(item)}

    async def prune(self, before: float) -> None:
        """DynamoDB does, item by item, when each expires."""

    async def _unfinished(self, files: Sequence[LogFile], *, consistent: bool) -> list[LogFile]:
        with self._encodable():
            keys = [_file(file) for file in files]
        found = await self._known(keys, consistent=consistent)
        with self._legible():
            return [
                file
                for file, key in zip(files, keys, strict=True)
                if (item := found.get(key)) is None
                or not is_same(file, item["version"]["S"] if "version" in item else None, item["etag"]["S"])
            ]

    async def _known(self, keys: Iterable[str], *, consistent: bool = False) -> dict[str, Item]:
        found = await self._table.get(list(keys), consistent=consistent)
        with self._legible():
            return {key: item for key, item in found.items() if self._is_alive(item)}

    async def _prolong(self, key: str, expires: dict[str, Any]) -> None:
        try:
            await self._table.update_if(key, "SET expires = :expires", "expires < :expires", {":expires": expires})
        except ConditionFailed:
            return

    async def _observe(self, observed: Sequence[tuple[str, Seen]]) -> list[Exception | None]:
        left: dict[str, Seen] = {}
        for who, seen in observed:
            left[who] = _both(left.get(who), seen)
        # One after the other, or we would come between ourselves.
        async with self._observing:
            for tries in range(OBSERVE_TRIES):
                if tries:
                    await asyncio.sleep(CONFLICT_BACKOFF.delay(tries))
                keys = {who: _named("p", who) for who in left}
                known = await self._table.get(keys.values(), consistent=True)
                outcomes = await asyncio.gather(
                    *(self._add(who, key, left[who], known.get(key)) for who, key in keys.items()),
                    return_exceptions=True,
                )
                failed = dict(zip(keys, outcomes, strict=True))
                if not (
                    beaten := {
                        who: left[who] for who, outcome in failed.items() if isinstance(outcome, ConditionFailed)
                    }
                ):
                    break
                left = beaten
        error = LedgerError(f"table {self._table.name}: others write the same at the same time, again and again")
        errors = {who: error if isinstance(each, ConditionFailed) else each for who, each in failed.items()}
        return [each if isinstance(each := errors.get(who), Exception) else None for who, _ in observed]

    async def _add(self, who: str, key: str, seen: Seen, known: Item | None) -> None:
        """Raises `ConditionFailed` if somebody has counted the same principal meanwhile."""
        with self._legible():
            both = _both(_seen(known) if known is not None and self._is_alive(known) else None, seen)
        item = {
            "pk": _text(key),
            "who": _text(who),
            "first": _numeral(both.first),
            "last": _numeral(both.last),
            "seen": {"N": str(both.count)},
            "expires": self._expires(),
        }
        # The count grows each time, so that it tells one state from the next; but for one that has expired.
        if known is None:
            await self._table.put_if(item, "attribute_not_exists(pk)", {})
        else:
            await self._table.put_if(
                item, "seen = :seen AND expires = :then", {":seen": known["seen"], ":then": known["expires"]}
            )

    def _expires(self) -> dict[str, Any]:
        return {"N": str(math.ceil(self._wall_clock() + self._retain))}

    def _is_alive(self, item: Item) -> bool:
        return _number(item["expires"]) > self._wall_clock()

    @contextmanager
    def _encodable(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise LedgerError(f"table {self._table.name}: {error}") from error

    @contextmanager
    def _legible(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, ValueError) as error:
            raise LedgerError(
                f"table {self._table.name} holds what no ledger wrote ({error}): give the ledger a table of its own"
            ) from error


def _file(file: LogFile) -> str:
    # No name of a bucket has a slash in it; what somebody announces may.
    return _named("f", f"{quote(file.bucket, safe='')}/{file.key}")


def _folder(folder: Folder) -> str:
    return _named("t" if folder.tree else "w", folder.path)


def _named(kind: str, name: str) -> str:
    encoded = name.encode()
    if len(encoded) > MAX_NAME_BYTES:
        return f"{kind}:{hashlib.sha256(encoded).hexdigest()}"
    return f"{kind}#{name}"


def _check_length(text: str, what: str) -> None:
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(f"{what} is too long to be remembered: {text[:100]!r}…")


def _text(text: str) -> dict[str, Any]:
    text.encode()  # a lone surrogate would be written as something else
    return {"S": text}


def _numeral(number: float) -> dict[str, Any]:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no time")
    # As exact as it is, or a mark might be rounded up. DynamoDB's numbers begin at 1e-130.
    return {"N": repr(number) if abs(number) > 1e-100 else "0"}


def _number(value: Mapping[str, Any]) -> float:
    return float(value["N"])


def _seen(item: Item) -> Seen:
    return Seen(_number(item["first"]), _number(item["last"]), int(item["seen"]["N"]))


def _both(one: Seen | None, other: Seen) -> Seen:
    if one is None:
        return other
    return Seen(min(one.first, other.first), max(one.last, other.last), one.count + other.count)
