"""A ledger in one DynamoDB table, shared by any number of replicas.

    pk                     attributes                    meaning
    f#RULES#BUCKET/KEY     etag, version, written        a file that was finished under these rules
    w#FOLDER               began                         when the folder's last successful refresh began
    t#FOLDER               began                         the same for a tree refresh of the folder
    p#WHO                  who, first, last, seen,       a principal that changed or read objects, and how often
                           read_count, actor
    n#NAME                 text                          a note
    c#NAME                 claimant, claimed_until       a task that one replica does for all

The rules are in the key. So replicas with different settings, as during a deployment, do not replace each other's marks.
Otherwise each of them would read all files again, at each sweep.

A name that is too long for a key is hashed: `f:HASH`. Each item has `expires`. DynamoDB deletes an item within days of
that time, so readers compare it themselves.
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

import msgspec
from msgspec.structs import astuple, replace

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.ledgers.claims import claimed_until
from jibe_sqs.adapters.ledgers.identity import counts, etag_of, is_same
from jibe_sqs.adapters.ledgers.table import MAX_GET, MAX_PUT, ConditionFailed, Item, Refused, Table
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.batches import Batches
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import LATEST, Actor, Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity

MAX_NAME_BYTES: Final = 2048 - 2
"""Bytes of a name after `f#` that is not hashed. DynamoDB's limit of 2,048 counts both."""
MAX_TEXT_BYTES: Final = 8192
"""Bytes of a version, an etag or a principal. Other people choose these texts. An item that is too large would make its
whole batch fail, and count as a failure of the table."""
MAX_NOTE_BYTES: Final = 300_000
"""Bytes of a note. An item may have 400 KB."""
OBSERVE_TRIES: Final = 5
"""Tries to count a principal while other replicas count the same one."""
ACTOR_FIELDS: Final = len(Actor.__struct_fields__)
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
        validity: Validity | None = None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`retain`: seconds until an item expires. `clock` (monotonic): for the pause after failures of the table."""
        self._table = Table(table, region=region, account=account, aws=aws, clock=clock)
        self._retain = retain
        self._validity = validity or Validity()
        self._wall_clock = wall_clock
        self._finished = Batches[Item](self._table.put, size=MAX_PUT, linger=0.005)
        self._observed = Batches[tuple[str, Seen]](self._observe, size=MAX_GET)
        self._observing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Check the table. Raises only for errors that an operator must correct: at the start an operator is present."""
        try:
            await self._table.ask()
        except Refused:
            raise
        except LedgerError:
            # The service works without it, so a replica starts while DynamoDB is down. The first message logs the error.
            pass
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: the connections belong to `aws`."""

    def change_rules(self, rules: str) -> None:
        """Files finish under these rules from now on."""
        self._validity = replace(self._validity, rules=rules)

    async def is_finished(self, file: LogFile) -> bool:
        """Whether this file, in this version, was finished.

        Reads consistently: a duplicate may reach another replica within a second.
        """
        return not await self._unfinished([file], consistent=True)

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        """The files that are not finished. They may include files that were finished within the last second."""
        # At half the price, for the thousands of files of a sweep. A file that seems unfinished is only read again.
        return await self._unfinished(files, consistent=False)

    async def finish(self, file: LogFile, etag: str) -> None:
        """Record that the file was finished. It is in the table when this returns."""
        with self._encodable():
            known = {"etag": etag_of(file, etag)} | ({} if file.version is None else {"version": file.version})
            for name, text in known.items():
                _check_length(text, f"the {name} of {file}")
            item = {"pk": _text(self._file(file)), "expires": self._expires()}
            item |= {name: _text(text) for name, text in known.items()}
            item["written"] = _numeral(self._wall_clock())
        await self._finished.add(item)

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        """When the last successful refresh of each folder began, or the one before the last."""
        # Not consistent, at half the price: with an older mark, fewer events are skipped.
        with self._encodable():
            keys = {folder: _folder(folder) for folder in folders}
        found = await self._known(keys.values())
        with self._legible():
            return {folder: _number(found[key]["began"]) for folder, key in keys.items() if key in found}

    async def refreshed(self, folder: Folder, began: float) -> None:
        """Record a successful refresh. It is in the table when this returns."""
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
            # Another replica's refresh began later. Its mark still holds, so it must not expire before this one would.
            await self._prolong(key, expires)

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        """Record the principals that changed or read objects."""
        with self._encodable():
            for who in principals:
                _check_length(
                    "".join((who, *astuple(principals[who].actor))), "a principal"
                )  # before any is written: all of a file are counted, or no one
        copies = ((who, msgspec.structs.replace(seen)) for who, seen in principals.items())
        outcomes = await asyncio.gather(*(self._observed.add(each) for each in copies), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def principals(self) -> dict[str, Seen]:
        """All recorded principals. Reads the whole table."""
        items = [item for kind in ("p#", "p:") for item in await self._table.scan(kind)]
        with self._legible():
            return {item["who"]["S"]: _seen(item) for item in items if self._is_alive(item)}

    async def note(self, name: str, text: str) -> None:
        """Remember a small fact. It is in the table when this returns."""
        with self._encodable():
            if len(text.encode()) > MAX_NOTE_BYTES:
                raise ValueError(f"the note {name} is too long for the ledger")
            item = {"pk": _text(_named("n", name)), "text": _text(text), "expires": _numeral(LATEST)}
        await self._finished.add(item)

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        """The facts with these names."""
        with self._encodable():
            keys = {name: _named("n", name) for name in names}
        found = await self._known(keys.values(), consistent=True)
        with self._legible():
            return {name: found[key]["text"]["S"] for name, key in keys.items() if key in found}

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Claim a task for `seconds`. False if another owner's claim still holds."""
        now = self._wall_clock()
        with self._encodable():
            item = {
                "pk": _text(_named("c", name)),
                "claimant": _text(owner),
                "claimed_until": _numeral(claimed_until(now, seconds)),
                "expires": {"N": str(math.ceil(now + seconds))},
            }
        try:
            await self._table.put_if(
                item,
                "attribute_not_exists(pk) OR claimant = :owner OR claimed_until <= :now",
                {":owner": item["claimant"], ":now": _numeral(now)},
            )
        except ConditionFailed:
            return False
        return True

    async def record(self, entry: HistoryEntry) -> None:
        """Nothing is recorded: each entry would cost a write, as much as the refresh's watermark itself."""

    async def history(self, question: HistoryQuestion) -> list[Remembered]:  # noqa: ARG002
        """There is no history in a table. Raises `LedgerError`."""
        raise LedgerError(
            "a ledger in DynamoDB keeps no history, because each entry would cost a write: read the log lines"
        )

    async def prune(self, before: float) -> None:
        """Nothing to do: DynamoDB deletes items after they expire."""

    async def _unfinished(self, files: Sequence[LogFile], *, consistent: bool) -> list[LogFile]:
        with self._encodable():
            keys = [self._file(file) for file in files]
        found = await self._known(keys, consistent=consistent)
        with self._legible():
            return [
                file
                for file, key in zip(files, keys, strict=True)
                if (item := found.get(key)) is None
                or not is_same(file, item["version"]["S"] if "version" in item else None, item["etag"]["S"])
                or not counts(self._validity, self._validity.rules, _number(item["written"]))
            ]

    def _file(self, file: LogFile) -> str:
        # Bucket names have no slash, but an announcement can name anything.
        return _named("f", f"{self._validity.rules}#{quote(file.bucket, safe='')}/{file.key}")

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
            left[who] = _merged(left.get(who), seen)
        # One batch at a time, so that this process does not conflict with itself.
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
                conflicts = {who: left[who] for who, outcome in failed.items() if isinstance(outcome, ConditionFailed)}
                if not conflicts:
                    break
                left = conflicts
        error = LedgerError(
            f"table {self._table.name}: other replicas counted the same principals in each of {OBSERVE_TRIES} tries"
        )
        errors = {who: error if isinstance(each, ConditionFailed) else each for who, each in failed.items()}
        return [each if isinstance(each := errors.get(who), Exception) else None for who, _ in observed]

    async def _add(self, who: str, key: str, seen: Seen, known: Item | None) -> None:
        """Raises `ConditionFailed` if another replica has counted the same principal meanwhile."""
        with self._legible():
            both = _merged(_seen(known) if known is not None and self._is_alive(known) else None, seen)
        item = {
            "pk": _text(key),
            "who": _text(who),
            "first": _numeral(both.first),
            "last": _numeral(both.last),
            "seen": {"N": str(both.count)},
            "read_count": {"N": str(both.reads)},
            "actor": {"L": [_text(each) for each in astuple(both.actor)]},
            "expires": self._expires(),
        }
        # A count grows with each write, so both identify the state that was read; if it has expired, `expires` does.
        if known is None:
            await self._table.put_if(item, "attribute_not_exists(pk)", {})
        else:
            same = "seen = :seen AND expires = :then AND " + (
                "read_count = :reads" if "read_count" in known else "attribute_not_exists(read_count)"
            )
            was = {":seen": known["seen"], ":then": known["expires"]}
            await self._table.put_if(
                item, same, was | ({":reads": known["read_count"]} if "read_count" in known else {})
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
                f"table {self._table.name} has items that are not a ledger's ({error}): use a separate table for the ledger"
            ) from error


def _folder(folder: Folder) -> str:
    return _named("t" if folder.tree else "w", folder.path)


def _named(kind: str, name: str) -> str:
    encoded = name.encode()
    if len(encoded) > MAX_NAME_BYTES:
        return f"{kind}:{hashlib.sha256(encoded).hexdigest()}"
    return f"{kind}#{name}"


def _check_length(text: str, what: str) -> None:
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(f"{what} is too long for the ledger: {text[:100]!r}…")


def _text(text: str) -> dict[str, Any]:
    text.encode()  # raises for a lone surrogate, which would be stored as another character
    return {"S": text}


def _numeral(number: float) -> dict[str, Any]:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a time")
    # All digits: a mark must not be rounded up. DynamoDB's smallest number is 1e-130.
    return {"N": repr(number) if abs(number) > 1e-100 else "0"}


def _number(value: Mapping[str, Any]) -> float:
    return float(value["N"])


def _seen(item: Item) -> Seen:
    # Items of earlier releases have neither reads nor an actor.
    reads, actor = int(item["read_count"]["N"]) if "read_count" in item else 0, item.get("actor", {"L": []})["L"]
    first, last, count = _number(item["first"]), _number(item["last"]), int(item["seen"]["N"])
    return Seen(first, last, count, reads, Actor(*(each["S"] for each in actor[:ACTOR_FIELDS])))


def _merged(known: Seen | None, seen: Seen) -> Seen:
    if known is None:
        return seen
    both = msgspec.structs.replace(known)
    both.merge(seen)
    return both
