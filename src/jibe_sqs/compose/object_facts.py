"""Collects what is known about an object: asks S3, Access Anywhere, the running service, the ledger and the dead letters."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Final, TypeVar
from urllib.parse import quote, quote_plus

from msgspec.structs import replace

from jibe_sqs.adapters.access_anywhere import ShownObjects
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.control import RunningService, running_service
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.commands.dead_letters import DeadLetter, all_letters
from jibe_sqs.commands.object_facts import (
    FolderFacts,
    Letter,
    ObjectFacts,
    ServiceFacts,
    Shown,
    Stored,
    Unknown,
)
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.dead_letters import dead_letters
from jibe_sqs.compose.shown_places import shown_places
from jibe_sqs.compose.world import access_anywhere_client
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import AccessAnywhereUnavailable, ControlError, JibeError
from jibe_sqs.core.history import HistoryQuestion, Remembered
from jibe_sqs.core.model import LATEST, Folder, Kind, ObjectEvent, Refresh
from jibe_sqs.settings import Settings

TIMEOUT: Final = 20.0
"""Seconds for one of the questions. A client of the service would wait for minutes."""
MAX_ENTRIES: Final = 200
"""Entries of the history that are looked at."""
MAX_LETTERS: Final = 1000
"""Dead letters that are read."""

T = TypeVar("T")


async def object_facts(settings: Settings, bucket: str, key: str, now: float) -> ObjectFacts:
    """What is known about the object. A question without an answer is a fact, too; only wrong settings raise."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running_service(settings.control_socket))
        places = await _known(shown_places(settings, service, stack)(bucket))
        found = [] if isinstance(places, Unknown) else _spots(places, bucket, key)
        folders = [shown.folder for shown in found]
        stored, shown, states, status, history, letters = await asyncio.gather(
            _known(_stored(settings, bucket, key)),
            _entries(settings, found, is_folder=key.endswith("/")),
            _known(_states(settings, service, folders)),
            _known(_status(service)),
            _known(_history(settings, bucket, folders)),
            _known(_letters(settings, key, folders)),
        )
    entries, newest = ((), None) if isinstance(history, Unknown) else history
    return ObjectFacts(
        bucket=bucket,
        key=key,
        now=now,
        shown=places if isinstance(places, Unknown) else shown,
        stored=stored,
        ignored_by=_ignored_by(settings, bucket, key),
        folders=() if isinstance(states, Unknown) else states,
        service=None if isinstance(status, Unknown) else status,
        history=history if isinstance(history, Unknown) else entries,
        newest_read=newest,
        letters=letters,
    )


async def _known(question: Awaitable[T]) -> T | Unknown:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await question
    except TimeoutError:
        return Unknown(f"no answer within {TIMEOUT:g} s", is_outage=True)
    except JibeError as error:
        return Unknown(f"{type(error).__name__}: {error}", is_outage=isinstance(error, AccessAnywhereUnavailable))


def _spots(places: Sequence[Place], bucket: str, key: str) -> list[Shown]:
    """Where the object is shown, whatever is ignored."""
    decisions = Decisions({bucket: [replace(place, ignore=None) for place in places]})
    decision = decisions.decide(ObjectEvent(Kind.WRITTEN, bucket, key, LATEST))
    if not isinstance(decision, Refresh):
        return []
    name = key.removesuffix("/").rpartition("/")[2]
    return [Shown(f"{folder.path.rstrip('/')}/{name}", folder) for folder in decision.folders]


def _ignored_by(settings: Settings, bucket: str, key: str) -> str:
    configured = rules.decisions(settings)
    if (found := rules.key_filter(settings.ignore_keys)) is not None and found.matches(key):
        return "ignore_keys"
    places = [place for place in (configured.places or {}).get(bucket, ()) if key.startswith(place.prefix)]
    if places and all(place.ignore is not None and place.ignore.matches(key) for place in places):
        return f"buckets.{bucket}.ignore"
    return ""


async def _stored(settings: Settings, bucket: str, key: str) -> Stored | None:
    async with stores.clients(settings) as aws:
        return await stores.data_objects(settings, Regions(aws, S3Clock()), aws).find(bucket, key)


async def _entries(settings: Settings, spots: Sequence[Shown], *, is_folder: bool) -> list[Shown]:
    if not spots:
        return []
    clock = S3Clock()
    # The mapped folders are found by names from the settings, whose case may differ. So everything is a root here.
    roots = {spot.folder.path for spot in spots}
    async with access_anywhere_client(settings, clock) as client:
        objects = ShownObjects(client, clock, roots=lambda: roots)

        async def find(spot: Shown) -> Shown:
            if spot.folder.tree:
                return spot  # the key has no path
            found = await _known(objects.find(spot.path, is_folder=is_folder))
            return (
                replace(spot, entry=found)
                if isinstance(found, Unknown)
                else replace(spot, entry=found.entry, alike=found.alike)
            )

        return list(await asyncio.gather(*map(find, spots)))


async def _states(settings: Settings, service: RunningService | None, folders: Sequence[Folder]) -> list[FolderFacts]:
    if service is None:
        async with stores.ledger(settings) as ledger:
            watermarks = await ledger.watermarks(folders)
        return [FolderFacts(folder, watermarks.get(folder)) for folder in folders]
    found = []
    for folder in folders:
        state = await service.folder(folder)
        error, pending = state.last_error, state.pending
        found.append(
            FolderFacts(
                folder,
                state.watermark,
                pending.waited if pending else None,
                pending.reason if pending else "",
                f"{error.error}: {error.reason}" if error else "",
            )
        )
    return found


async def _status(service: RunningService | None) -> ServiceFacts:
    if service is None:
        raise ControlError("no running service answers")
    status = await service.status()
    troubles = [each.trouble for each in status.queues if each.trouble]
    last = max((each.last_message for each in status.queues), default=0.0)
    return ServiceFacts(
        status.running, status.messages, status.gates, status.outages, troubles, status.silences, last_message=last
    )


async def _history(
    settings: Settings, bucket: str, folders: Sequence[Folder]
) -> tuple[Sequence[Remembered], float | None] | Unknown:
    """The entries about the object's folders, and when the newest log file was read."""
    if settings.ledger.kind == "memory" or not settings.ledger.history_days:
        return Unknown("the ledger keeps no history: set ledger.kind to sqlite, and ledger.history_days")
    paths = tuple(folder.path for folder in folders)
    async with stores.ledger(settings) as ledger:
        entries = await ledger.history(HistoryQuestion(paths, bucket, limit=MAX_ENTRIES))
        newest = await ledger.history(HistoryQuestion(any_file=True, limit=1))
    return entries, newest[0].at if newest else None


async def _letters(settings: Settings, key: str, folders: Sequence[Folder]) -> list[Letter]:
    if not settings.queues:
        return []
    in_body = {key, quote(key), quote_plus(key), quote_plus(key, safe="/")}
    in_reason = {key, *(folder.path for folder in folders)}

    def names_it(letter: DeadLetter) -> bool:
        return any(text in letter.body for text in in_body) or any(
            text in f"{letter.reason} {letter.first_error} {letter.source}" for text in in_reason
        )

    found: list[Letter] = []
    async with dead_letters(settings) as queues, aclosing(all_letters(queues)) as letters:
        async for letter in letters:
            found.append(Letter(letter.id, letter.error, letter.reason, names_it(letter)))
            if len(found) == MAX_LETTERS:
                break
    return found
