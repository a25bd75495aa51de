"""Where buckets are shown: as the settings say, or as Access Anywhere shows them, looked at again every few minutes.

    given by the settings   they stay; only what each provider's last sync has seen is asked for
    discovered              nothing passes the gate until they are known: whatever is shown nowhere would be skipped

To take a bucket for unmapped loses its events, and to take it for mapped costs a refresh that fails. So what is found
counts at once, and what is missed only after some time; a look that fails, or finds nothing at all, changes nothing; and
that a bucket is shown nowhere is certain only of changes from before a look began. A bucket may have been added and
synchronised since, and what changed after that sync had begun would be lost.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from jibe_sqs.core.decisions import Decisions, Place, Places
from jibe_sqs.core.errors import AccessAnywhereError, AccessAnywhereUnavailable
from jibe_sqs.ports import Buckets, Clock, Gate, Providers

INTERVAL: Final = 300.0
LEAST_INTERVAL: Final = 30.0
"""Seconds between two looks, however many unknown buckets are asked about."""
LONGEST_LOOK: Final = 600.0
"""Seconds. Each call has its own limits, but a look may be of many."""
SKEW: Final = 10.0
"""Seconds by which the times of changes and S3's clock, as we see it, may differ."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds after a look that failed, while nothing is known; doubling."""

NOT_LOOKED: Final = "it is not known yet which buckets Access Anywhere shows"
NOTHING: Final = "Access Anywhere shows no buckets: add a provider, see that the account may see it, or set `buckets` in the settings"

log = structlog.get_logger()

Spot = tuple[str, str, str]
"""Bucket, folder, prefix."""


def unobserved(_: Places) -> None:
    """For those who need not know."""


class BucketMap(Buckets, Gate):
    """Keeps `decisions.places` true while `run` runs. Places that are there from the start are the settings'.

    `on_change` is called with all places, at first and whenever they change, before anything is decided by them.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        decisions: Decisions,
        clock: Clock,
        interval: float = INTERVAL,
        on_change: Callable[[Places], None] = unobserved,
    ) -> None:
        """`interval`: seconds between two looks."""
        self._providers = providers
        self._decisions = decisions
        self._clock = clock
        self._interval = interval
        self._on_change = on_change
        self._discovers = decisions.places is None
        self._reason = NOT_LOOKED if self._discovers else ""
        self._known_now = asyncio.Event()
        self._looking = asyncio.Lock()
        self._began = self._looked = float("-inf")
        self._failure = ""
        self._known_at = float("-inf")
        self._missed: dict[Spot, float] = {}
        self._syncs_known = True
        self._places: dict[Spot, Place] = spots(decisions.places or {})
        self._set(self._places)

    @property
    def places(self) -> Places:
        """Where each bucket is shown, as far as is known now."""
        return self._decisions.places or {}

    @property
    def reason(self) -> str:
        """Why nothing can be decided yet; empty if it can."""
        return self._reason

    async def passable(self) -> None:
        """Return as soon as the buckets are known."""
        if self._reason:
            await self._known_now.wait()

    async def run(self) -> None:
        """Look until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._look()
            if not self._reason:
                await self._clock.sleep(self._interval)
                continue
            log.warning("buckets_unknown", reason=self._reason, retry_in=pause)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE, self._interval)

    async def appeared(self, unknown: Mapping[str, Sequence[Place]], latest: float) -> bool:
        """Whether one of these buckets is shown elsewhere than at the places by which it was decided on.

        By a look that began after `latest`, or was asked for; there is one at most every `LEAST_INTERVAL`, which whoever
        asks meanwhile shares. So this may wait. Raises `AccessAnywhereUnavailable` if the look fails.
        """
        asked = self._clock.monotonic()
        while self._discovers and not self._knows_more(unknown) and self._known_at < latest + SKEW:
            if self._began >= asked:
                if self._failure:
                    raise AccessAnywhereUnavailable(f"which buckets it shows is not known: {self._failure}")
                # Where S3's clock is not known, and for times that are ahead of it.
                break
            if (early := self._looked + LEAST_INTERVAL - self._clock.monotonic()) > 0:
                # A little more, for timers may go off a little too early.
                await self._clock.sleep(early + 0.01)
            await self._look(unless_within=LEAST_INTERVAL)
        return self._knows_more(unknown)

    def _knows_more(self, unknown: Mapping[str, Sequence[Place]]) -> bool:
        # By where, not by syncs: whoever decides anew because of a baseline would only find more to skip.
        now = self.places
        return any(
            spots({bucket: now[bucket]}).keys() - spots({bucket: places}).keys()
            for bucket, places in unknown.items()
            if bucket in now
        )

    async def _look(self, *, unless_within: float = 0.0) -> None:
        async with self._looking:
            began, moment = self._clock.monotonic(), self._clock.now()
            if began - self._looked < unless_within:
                return
            failure = ""
            try:
                async with asyncio.timeout(LONGEST_LOOK):
                    await self._look_now()
                self._known_at = moment
            except AccessAnywhereError as error:
                failure = str(error)
                self._keep(failure)
            except TimeoutError:
                failure = f"no end of what it shows within {LONGEST_LOOK:g} s"
                self._keep(failure)
            except Exception as defect:
                # Of ours: what is known must not grow old by it.
                log.exception("bucket_look_crashed")
                failure = repr(defect)
            # At its end: where looks hang, those who wait for one must not each begin another.
            self._began, self._failure, self._looked = began, failure, self._clock.monotonic()

    async def _look_now(self) -> None:
        found = self._places
        if self._discovers:
            found = spots(await self._providers.places())
            if not found:
                raise AccessAnywhereUnavailable(NOTHING)
            found |= self._just_missed(found)
        synced = await self._synced(found)
        never = float("-inf")
        self._take(
            {spot: replace(place, synced=synced.get(top(place), never)) for spot, place in found.items()},
        )

    def _keep(self, reason: str) -> None:
        if self._reason:
            self._reason = reason
        else:
            log.warning("buckets_kept", reason=reason, buckets=len(self.places))

    def _just_missed(self, found: Mapping[Spot, Place]) -> dict[Spot, Place]:
        """What was shown a short while ago: a provider that syncs, or a server that starts, may show it again at once."""
        now = self._clock.monotonic()
        self._missed = {spot: self._missed.get(spot, now) for spot in self._places.keys() - found.keys()}
        return {spot: self._places[spot] for spot, since in self._missed.items() if now - since < self._interval / 2}

    async def _synced(self, found: Mapping[Spot, Place]) -> Mapping[str, float]:
        """Without an answer nothing is skipped: more refreshes, and nothing lost."""
        try:
            synced = await self._providers.synced({top(place) for place in found.values()})
        except AccessAnywhereError as error:
            if self._syncs_known:
                log.warning("syncs_unknown", reason=str(error), consequence="what they have seen is refreshed again")
            self._syncs_known = False
            return {}
        self._syncs_known = True
        now = self._clock.now()
        # Its clock is far ahead of S3's, or of another zone. Where S3's is not known, nobody can tell.
        future = {folder: began for folder, began in synced.items() if 0 < now < began}
        for folder, began in sorted(future.items()):
            log.warning("sync_in_the_future", folder=folder, by=round(began - now), consequence="it is passed over")
        return {folder: began for folder, began in synced.items() if folder not in future}

    def _take(self, found: dict[Spot, Place]) -> None:
        if self._reason:
            self._tell_first(found)
        else:
            for bucket, folder, prefix in sorted(found.keys() - self._places.keys()):
                log.info("bucket_appeared", bucket=bucket, folder=folder, prefix=prefix)
            for bucket, folder, prefix in sorted(self._places.keys() - found.keys()):
                log.warning("bucket_vanished", bucket=bucket, folder=folder, prefix=prefix)
        if found != self._places:
            self._set(found)
        self._reason = ""
        self._known_now.set()

    def _tell_first(self, found: Mapping[Spot, Place]) -> None:
        log.info("buckets_found", buckets=len({bucket for bucket, _, _ in found}), places=len(found))
        for bucket, folder, prefix in sorted(found):
            log.debug("bucket_found", bucket=bucket, folder=folder, prefix=prefix)

    def _set(self, found: dict[Spot, Place]) -> None:
        places: dict[str, tuple[Place, ...]] = {}
        for (bucket, _, _), place in found.items():
            places[bucket] = (*places.get(bucket, ()), place)
        self._places = found
        self._on_change(places)
        self._decisions.places = places


class PlacesOfProviders:
    """The part of `places` that some providers show. Their names may differ in case, as everywhere in Access Anywhere."""

    def __init__(self, places: Callable[[], Places], providers: Sequence[str]) -> None:
        self._places = places
        self._providers = {provider.strip("/").casefold(): provider for provider in providers}
        self._seen: Places = {}
        self._kept: Places = {}
        self._missing: set[str] = set()

    def __call__(self) -> Places:
        """As of now."""
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
    """The same, place by place."""
    return {(bucket, place.folder, place.prefix): place for bucket, shown in places.items() for place in shown}


def top(place: Place) -> str:
    """The name of the top-level folder, which is the provider's."""
    return place.folder.lstrip("/").partition("/")[0]
