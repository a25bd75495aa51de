"""The fingerprint of the settings that decide what a log file asks for.

A finished file counts as finished only under the settings that it was finished under. So the fingerprint has every setting of
`Rules`, except for those that are known to decide nothing: a new setting is part of it by itself. Settings that have their
default value are left out. So a new release with a new setting does not make every file be read again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Self

from pydantic import BaseModel

from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings import DefaultLogs, LimitSettings, LogSettings, RoleSettings, Rules

MAX_NAMES: Final = 1000
"""Names of one group, such as buckets. A larger group is one name: a ledger's note must not grow without limit."""
ALL_OF_GROUP: Final = "*"

DECIDE_NOTHING: Final = frozenset({"aws", "ledger", "log", "principals"})
"""Groups of `Rules`: where things are, how they are reached, and what is written about them."""
LIMITS_THAT_DECIDE: Final = frozenset({"record_size", "key_length"})
"""A record beyond them is a bad record. A file beyond the other limits is never finished."""
LIMITS_DECIDE_NOTHING: Final = frozenset(LimitSettings.model_fields) - LIMITS_THAT_DECIDE
LOGS_DECIDE_NOTHING: Final = frozenset(
    {*RoleSettings.model_fields, "bucket_owner", "via", "folder", "providers", "sweep", "sweep_days", "expect"}
)
"""Where log files are, how they are reached, and how they are found."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A short hash of each setting that decides, by its dotted name."""

    names: Mapping[str, str]

    @property
    def short(self) -> str:
        """Ten hexadecimal digits that stand for all of them."""
        return _hash(sorted(self.names.items()), size=5)

    def changed(self, before: Mapping[str, str]) -> list[str]:
        """The names whose settings were others before, or that were not there, or are there no longer."""
        return sorted(name for name in {*self.names, *before} if self.names.get(name) != before.get(name))

    @classmethod
    def of(cls, settings: Rules) -> Self:
        """The fingerprint of these settings."""
        names: dict[str, str] = {}
        for group in sorted(Rules.model_fields.keys() - DECIDE_NOTHING):
            parts = {
                f"{group}.{name}" if name else group: _hash(value)
                for name, value in _parts(group, getattr(settings, group))
            }
            names |= parts if len(parts) <= MAX_NAMES else {f"{group}.{ALL_OF_GROUP}": _hash(sorted(parts.items()))}
        return cls(names)


def _parts(group: str, value: Any) -> Iterable[tuple[str, Any]]:
    """The parts of a group, each with its name in the group. The name is empty if the group is one part."""
    if not value:
        return []
    match value:
        case LimitSettings():
            return _fields(value, LIMITS_DECIDE_NOTHING).items()
        case BaseModel():
            return _fields(value).items()
        case Mapping():
            return [(str(name), _canonical(each)) for name, each in value.items()]
        case tuple() if group == "logs":
            return _log_parts(value)
    return [("", _canonical(value))]


def _log_parts(logs: Iterable[LogSettings]) -> Iterable[tuple[str, Any]]:
    """The sources by their names. The first entry that matches a file counts, so a part has the entries before it."""
    parts: dict[str, list[Any]] = {}
    earlier: list[LogSettings] = []
    for each in logs:
        # `run` adds the default logs, and other commands do not. They decide nothing: each of their settings is a default.
        if isinstance(each, DefaultLogs):
            continue
        before = [_name(other) for other in earlier if _overlap(other, each)]
        parts.setdefault(_name(each), []).append([_fields(each, LOGS_DECIDE_NOTHING), before])
        earlier.append(each)
    return parts.items()


def _name(source: LogSettings) -> str:
    return f"{source.bucket}/{source.prefix}" if source.prefix else source.bucket


def _overlap(one: LogSettings, other: LogSettings) -> bool:
    """Whether a file may match both."""
    same_bucket = one.bucket == other.bucket or EVERY_BUCKET in (one.bucket, other.bucket)
    return same_bucket and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))


def _fields(value: BaseModel, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields that have not their default value."""
    dumped = value.model_dump(mode="json", exclude_defaults=True, exclude=set(without))
    return {name: _canonical(each) for name, each in dumped.items()}


def _canonical(value: Any) -> Any:
    """The value for JSON. The order of texts in a list decides nothing; the order of objects may."""
    if isinstance(value, BaseModel):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(name): _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        entries = [_canonical(each) for each in value]
        return sorted(entries) if all(isinstance(each, str) for each in entries) else entries
    return value


def _hash(value: Any, *, size: int = 4) -> str:
    text = json.dumps(value, sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
