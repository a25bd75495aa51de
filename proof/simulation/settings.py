"""The settings of the replicas: in some worlds they are wrong at first, and an operator corrects them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from random import Random
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from jibe_sqs.compose import rules
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.settings import Rules
from proof.simulation.storage import BUCKET, LOGS, OTHER_AGENT, Event, File

IGNORED = "*2"
"""A pattern of keys of objects."""
IGNORED_LOGS = "*-0.json"
"""A pattern of keys of log files."""


class Mistake(Enum):
    """What is wrong in the first settings."""

    OWN_WRITES = "the writes of another program count as Access Anywhere's own"
    NOT_MAPPED = "the bucket is not mapped"
    BAD_RECORDS = "bad records are skipped"
    IGNORED_KEYS = "objects that are of interest are ignored in all buckets"
    IGNORED_IN_PLACE = "objects that are of interest are ignored in their bucket"
    IGNORED_LOGS = "log files that are of interest are ignored"


class _Rules(Rules):
    """Rules that do not depend on the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True)
class Settings:
    """The settings of one process. `discovers`: buckets are discovered, not configured."""

    mistakes: frozenset[Mistake] = frozenset()
    discovers: bool = False
    prefix: str = ""

    @cached_property
    def rules(self) -> Rules:
        """The rules, as an operator writes them."""
        made = self.mistakes
        logs: dict[str, Any] = {"bucket": LOGS, "prefix": self.prefix}
        if Mistake.BAD_RECORDS in made:
            # No simulated record is bad. But all files are read again after the correction.
            logs |= {"on_bad_record": "skip"}
        if Mistake.IGNORED_LOGS in made:
            logs |= {"ignore": [IGNORED_LOGS]}
        place = {"folder": f"/{BUCKET}"} | ({"ignore": [IGNORED]} if Mistake.IGNORED_IN_PLACE in made else {})
        buckets = {"other": "/other"} | ({} if Mistake.NOT_MAPPED in made else {BUCKET: place})
        values: dict[str, Any] = {
            "logs": (logs,),
            "buckets": None if self.discovers else buckets,
            "own_writes": {"user_agents": [OTHER_AGENT]} if Mistake.OWN_WRITES in made else {},
            "ignore_keys": [IGNORED] if Mistake.IGNORED_KEYS in made else (),
        }
        return _Rules(**values)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the rules."""
        return Fingerprint.of(self.rules)

    @cached_property
    def sources(self) -> Sources:
        """The sources of log files."""
        return rules.sources(self.rules)

    @property
    def source(self) -> LogSource:
        """The only source of log files."""
        return rules.log_source(self.rules.logs[0])

    def decisions(self) -> Decisions:
        """New decisions by the rules."""
        return rules.decisions(self.rules)

    def reads(self, file: File) -> bool:
        """Whether a log file is read."""
        return Mistake.IGNORED_LOGS not in self.mistakes or not KeyFilter((IGNORED_LOGS,)).matches(file.key)

    def skips(self, event: Event) -> bool:
        """Whether a change is skipped because of a mistake."""
        made = self.mistakes
        if Mistake.NOT_MAPPED in made:
            return True
        if Mistake.OWN_WRITES in made and event.source and event.agent == OTHER_AGENT:
            return True
        is_ignoring = Mistake.IGNORED_KEYS in made or Mistake.IGNORED_IN_PLACE in made
        return is_ignoring and bool(event.key) and KeyFilter((IGNORED,)).matches(event.key)


class Configuration:
    """The settings of all processes of a world, one after the other. `now`: those of a process that starts now."""

    def __init__(self, now: Settings) -> None:
        self.now = now
        self.owed: dict[Event, None] = {}
        """Changes that were skipped because of a mistake. They must be shown in the end."""
        self.beyond_repair: set[Event] = set()
        """Changes that a message named without a log file, and that were skipped. Only a comparison repairs them."""
        self.is_corrected = not now.mistakes

    def correct(self) -> None:
        """Start processes without mistakes from now on."""
        self.now = Settings(frozenset(), self.now.discovers, self.now.prefix)
        self.is_corrected = True

    def owe(self, events: Sequence[Event], mistakes: frozenset[Mistake]) -> None:
        """Remember changes that were skipped because of these mistakes."""
        self.owed.update(dict.fromkeys(events))
        if Mistake.NOT_MAPPED not in mistakes:
            self.beyond_repair.update(event for event in events if not event.source)


def draw_mistakes(chance: Random, *, is_mapped: bool) -> frozenset[Mistake]:
    """Draw one mistake, or two. `is_mapped`: buckets are configured."""
    possible = list(Mistake) if is_mapped else [each for each in Mistake if each not in BUCKET_MISTAKES]
    return frozenset(chance.sample(possible, chance.choice([1, 1, 2])))


BUCKET_MISTAKES = (Mistake.NOT_MAPPED, Mistake.IGNORED_IN_PLACE)
"""Mistakes in the configuration of a bucket."""
