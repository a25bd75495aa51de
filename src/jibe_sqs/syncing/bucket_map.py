"""The bucket map: where Access Anywhere shows each bucket. It is configured, or asked from the server every few minutes.

    configured    the places stay; only the times of the providers' last syncs are asked for
    discovered    the gate is closed until the places are known: events of buckets that are shown nowhere are skipped

A bucket that is wrongly unmapped loses events; one that is wrongly mapped costs a refresh that fails. So a bucket that is
found counts at once, and one that is missing counts as missing only after some time. A look that fails, or that finds
nothing at all, changes nothing. That a bucket is shown nowhere is certain only for changes from before a look began: it
may have been added and synchronised since, and a change after that sync began would be lost.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.core.decisions import Decisions, Place, Places
from jibe_sqs.core.errors import AccessAnywhereError, AccessAnywhereUnavailable
from jibe_sqs.ports import Buckets, Clock, Gate, Providers

INTERVAL: Final = 300.0
"""Seconds between two looks at the server."""
MIN_INTERVAL: Final = 30.0
"""Seconds between two looks for unknown buckets, however many of these there are."""
MAX_LOOK_TIME: Final = 600.0
"""Seconds. Each call has its own timeout, but a look may need many calls."""
SKEW: Final = 10.0
"""Seconds by which the times of changes may differ from S3's clock as it is known here."""
RETRY_DELAYS: Final = Backoff(first=1.0, longest=60.0, jitter=0.0)
"""After failed looks, while nothing is known."""

NOT_LOOKED: Final = "the buckets that Access Anywhere shows are not known yet"
NOTHING: Final = "Access Anywhere shows no buckets: add a provider, check that the account may see it, or set `buckets` in the settings"

log = structlog.get_logger()

Spot = tuple[str, str, str]
"""Bucket, folder, prefix."""


class BucketMap(Buckets, Gate):
    """Keeps `decisions.places` up to date while `run` runs. Places that are set from the start were configured."""

    def __init__(
        self,
        *,
        providers: Providers,
        decisions: Decisions,
        clock: Clock,
        interval: float = INTERVAL,
        gate: Gate | None = None,
    ) -> None:
        """`interval`: seconds between two looks at the server. `gate`: while it is closed, no look begins."""
        self._providers = providers
        self._decisions = decisions
        self._clock = clock
        self._interval = interval
        self._gate = gate
        self._discovers = decisions.places is None
        self._reason = NOT_LOOKED if self._discovers else ""
        self._known_now = asyncio.Event()
        self._configured = asyncio.Event()
        """Set until the next look: the places were configured anew, `_configurations` times so far."""
        self._configurations = 0
        self._taken = asyncio.Event()
        self._looking = asyncio.Lock()
        self._began = self._looked = float("-inf")
        self._failure = ""
        self._known_at = float("-inf")
        self._missed: dict[Spot, float] = {}
        self._syncs_known = True
        self._places: dict[Spot, Place] = spots(decisions.places or {})
        self._set(self._places)

    def configure(self, places: Places | None) -> None:
        """Use these configured places from now on; or those that the server shows, if None.

        Until the server has answered, no new work is taken. What is in hand is decided with the places from before.
        """
        if places is None and self._discovers:
            return
        self._discovers = places is None
        self._configured.set()
        self._configurations += 1
        if places is None:
            self._reason = NOT_LOOKED
            self._known_now.clear()
            # The looks so far have asked only for the times of syncs.
            self._known_at = self._began = float("-inf")
            return
        synced = {spot: place.synced for spot, place in self._places.items()}
        never = float("-inf")
        self._take({spot: replace(each, synced=synced.get(spot, never)) for spot, each in spots(places).items()})

    @property
    def places(self) -> Places:
        """The places of each bucket, as far as they are known now."""
        return self._decisions.places or {}

    @property
    def reason(self) -> str:
        """Why nothing can be decided yet: a sentence for an operator. Empty if decisions are possible."""
        return self._reason

    async def passable(self) -> None:
        """Wait until the buckets are known."""
        if self._reason:
            await self._known_now.wait()

    async def changed(self, known: Collection[Spot] = ()) -> frozenset[Spot]:
        """Wait until the places are known, and others than these. Returns them."""
        while self._reason or self._places.keys() == set(known):
            self._taken.clear()
            await self._taken.wait()
        return frozenset(self._places)

    async def run(self) -> None:
        """Look at the server again and again, until cancelled."""
        failures = 0
        while True:
            self._configured.clear()
            await self._look()
            if not self._reason:
                await first_of(self._clock.sleep(self._interval), self._configured.wait())
                continue
            if self._configured.is_set():
                continue
            failures += 1
            delay = min(RETRY_DELAYS.delay(failures), self._interval)
            log.warning("buckets_unknown", reason=self._reason, retry_in=delay)
            await self._clock.sleep(delay)

    async def appeared(self, unknown: Mapping[str, Sequence[Place]], latest: float) -> bool:
        """Whether one of these buckets is shown at another place than those that the decision was made with.

        The answer comes from a look that began after `latest`, or after this call. There is at most one look every
        `MIN_INTERVAL`, and callers share it, so this may wait. Raises `AccessAnywhereUnavailable` if the look fails.
        """
        asked = self._clock.monotonic()
        while self._discovers and not self._knows_more(unknown) and self._known_at < latest + SKEW:
            if self._began >= asked:
                if self._failure:
                    raise AccessAnywhereUnavailable(f"the buckets that it shows are not known: {self._failure}")
                # S3's clock is not known, or `latest` is ahead of it.
                break
            if (early := self._looked + MIN_INTERVAL - self._clock.monotonic()) > 0:
                # A little more, because timers may fire a little early.
                await self._clock.sleep(early + 0.01)
            await self._look(unless_within=MIN_INTERVAL)
        return self._knows_more(unknown)

    def _knows_more(self, unknown: Mapping[str, Sequence[Place]]) -> bool:
        # Compare the places, not the times of syncs: a new time would only cause more skips.
        now = self.places
        return any(
            spots({bucket: now[bucket]}).keys() - spots({bucket: places}).keys()
            for bucket, places in unknown.items()
            if bucket in now
        )

    async def _look(self, *, unless_within: float = 0.0) -> None:
        async with self._looking:
            if self._gate is not None:
                await self._gate.passable()
            began, moment = self._clock.monotonic(), self._clock.now()
            if began - self._looked < unless_within:
                return
            failure, configurations = "", self._configurations
            try:
                async with asyncio.timeout(MAX_LOOK_TIME):
                    await self._look_now()
                if configurations == self._configurations:
                    self._known_at = moment
            except AccessAnywhereError as error:
                failure = str(error)
                self._keep(failure)
            except TimeoutError:
                failure = f"the list of what it shows did not end within {MAX_LOOK_TIME:g} s"
                self._keep(failure)
            except Exception as defect:
                # A defect of ours. It must not stop later looks.
                log.exception("bucket_look_crashed")
                failure = repr(defect)
            if configurations != self._configurations:
                # It has found out nothing about what is asked now.
                return
            # Set at the end: if looks hang, waiting callers must not each begin another one.
            self._began, self._failure, self._looked = began, failure, self._clock.monotonic()

    async def _look_now(self) -> None:
        found, configurations = self._places, self._configurations
        if self._discovers:
            found = spots(await self._providers.places())
            if not found:
                raise AccessAnywhereUnavailable(NOTHING)
            found |= self._just_missed(found)
        synced = await self._synced(found)
        if self._configurations != configurations:
            # These are answers to the question from before.
            return
        never = float("-inf")
        self._take(
            {spot: replace(place, synced=synced.get(top(place), never)) for spot, place in found.items()},
        )

    def _keep(self, reason: str) -> None:
        if self._reason:
            self._reason = reason if reason == NOTHING else f"{NOT_LOOKED}: {reason}"
        else:
            log.warning("buckets_kept", reason=reason, buckets=len(self.places))

    def _just_missed(self, found: Mapping[Spot, Place]) -> dict[Spot, Place]:
        """Places that were shown a short time ago. A provider that syncs, or a server that starts, may show them again."""
        now = self._clock.monotonic()
        self._missed = {spot: self._missed.get(spot, now) for spot in self._places.keys() - found.keys()}
        return {spot: self._places[spot] for spot, since in self._missed.items() if now - since < self._interval / 2}

    async def _synced(self, found: Mapping[Spot, Place]) -> Mapping[str, float]:
        """The times of the last syncs. Without an answer, nothing is skipped because of them, and nothing is lost."""
        try:
            synced = await self._providers.synced({top(place) for place in found.values()})
        except AccessAnywhereError as error:
            if self._syncs_known:
                log.warning(
                    "syncs_unknown", reason=str(error), consequence="changes from before the syncs are refreshed again"
                )
            self._syncs_known = False
            return {}
        self._syncs_known = True
        now = self._clock.now()
        # The server's clock is ahead of S3's, or in another time zone. Unknown while S3's clock is not known.
        future = {folder: began for folder, began in synced.items() if 0 < now < began}
        for folder, began in sorted(future.items()):
            log.warning("sync_in_the_future", folder=folder, by=round(began - now), consequence="this sync is ignored")
        return {folder: began for folder, began in synced.items() if folder not in future}

    def _take(self, found: dict[Spot, Place]) -> None:
        if self._reason:
            self._log_first(found)
        else:
            for bucket, folder, prefix in sorted(found.keys() - self._places.keys()):
                log.info("bucket_appeared", bucket=bucket, folder=folder, prefix=prefix)
            for bucket, folder, prefix in sorted(self._places.keys() - found.keys()):
                log.warning("bucket_vanished", bucket=bucket, folder=folder, prefix=prefix)
        if found != self._places:
            self._set(found)
        self._reason = ""
        self._known_now.set()
        self._taken.set()

    def _log_first(self, found: Mapping[Spot, Place]) -> None:
        log.info("buckets_found", buckets=len({bucket for bucket, _, _ in found}), places=len(found))
        for bucket, folder, prefix in sorted(found):
            log.debug("bucket_found", bucket=bucket, folder=folder, prefix=prefix)

    def _set(self, found: dict[Spot, Place]) -> None:
        places: dict[str, tuple[Place, ...]] = {}
        for (bucket, _, _), place in found.items():
            places[bucket] = (*places.get(bucket, ()), place)
        self._places = found
        self._decisions.places = places


class PlacesOfProviders:
    """The part of `places` that some providers show. Their names may differ in case, as always in Access Anywhere."""

    def __init__(self, places: Callable[[], Places], providers: Sequence[str]) -> None:
        self._places = places
        self._providers = {provider.strip("/").casefold(): provider for provider in providers}
        self._seen: Places = {}
        self._kept: Places = {}
        self._missing: set[str] = set()

    def __call__(self) -> Places:
        """Return the places as known now."""
        places = self._places()
        if places is not self._seen:
            self._seen = places
            self._kept = self._part(places)
        return self._kept

    def _part(self, places: Places) -> Places:
        shown = {top(place) for found in places.values() for place in found}
        missing = self._providers.keys() - {name.casefold() for name in shown} if shown else set()
        for name in sorted(missing - self._missing):
            log.warning(
                "provider_not_shown",
                provider=self._providers[name],
                shown=sorted(shown),
                consequence="no logs are read in its buckets",
                remedy="correct the name in logs.providers, or in sources of Jibe's file",
            )
        self._missing = missing
        parts = {
            bucket: tuple(place for place in found if top(place).casefold() in self._providers)
            for bucket, found in places.items()
        }
        return {bucket: found for bucket, found in parts.items() if found}


def spots(places: Places) -> dict[Spot, Place]:
    """The same places, each by itself."""
    return {(bucket, place.folder, place.prefix): place for bucket, shown in places.items() for place in shown}


def top(place: Place) -> str:
    """The name of the top-level folder, which is the name of the provider."""
    return place.folder.lstrip("/").partition("/")[0]
