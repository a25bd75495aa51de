"""`workers`: how many processes the settings allow, and the part of the limits that each of them has.

Limits that protect the memory of the machine or Access Anywhere count for all workers together, so each worker gets its part.
"""

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import BaseModel, PlainValidator, WithJsonSchema

if TYPE_CHECKING:
    from jibe_sqs.settings.groups.providers import ProviderSettings
    from jibe_sqs.settings.model import Settings

AUTO: Final = "auto"
MOST: Final = 64
"""Workers of one service."""
DIVIDED: Final = {
    "access_anywhere": ("concurrency", "calls_per_second"),
    "limits": ("messages_reading", "messages_held", "bytes_held", "bytes_in_flight"),
}
"""The limits that count for all workers together: group -> names."""

G = TypeVar("G", bound=BaseModel)


def _workers(value: object) -> int | Literal["auto"]:
    if value == AUTO:
        return AUTO
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= MOST:
        raise ValueError(f"not a number of processes: write a whole number from 1 to {MOST}, or {AUTO}")
    return number


WORKERS: Final = (
    PlainValidator(_workers),
    WithJsonSchema({"kind": f"integer, 1 to {MOST}, or `{AUTO}`", "type": "string"}),
)
"""The annotations of the setting."""


def why_not(settings: "Settings", workers: int) -> str:
    """Why the settings do not allow so many workers: a sentence with its remedy. Empty if they do."""
    if workers == 1:
        return ""
    if not settings.queues:
        return "workers share queues, and one process alone sweeps: set queues, or remove workers"
    if settings.ledger.kind == "memory" and settings.sync.strategy != "dry-run":
        return "workers share a ledger, and one in memory belongs to one process: set ledger.kind to sqlite or dynamodb"
    for group, names in DIVIDED.items():
        for name in names:
            value, least = getattr(getattr(settings, group), name), _least(getattr(settings, group), name)
            if least is not None and value // workers < least:
                return (
                    f"each worker gets a part of {group}.{name}, at least {least}: set {group}.{name} to "
                    f"{workers * least} or more, or workers to {value // least} or less"
                )
    return ""


def number_of_workers(settings: "Settings", cores: int) -> int:
    """The configured number. With `auto`, one for each usable core, if the settings allow so many."""
    if settings.workers != AUTO:
        return int(settings.workers)
    return next(each for each in range(min(cores, MOST), 0, -1) if not why_not(settings, each))


def share_of(settings: "Settings", workers: int) -> "Settings":
    """The settings of one of so many workers: its part of the divided limits."""
    groups: dict[str, Any] = {
        group: _divided(getattr(settings, group), names, workers) for group, names in DIVIDED.items()
    }
    providers = {name: _provider(each, workers) for name, each in settings.providers.items()}
    return settings.model_copy(update={**groups, "providers": providers})


def _provider(provider: "ProviderSettings", workers: int) -> "ProviderSettings":
    """A provider that allows fewer refreshes than there are workers gets one of each: none would stop it."""
    parts: dict[str, float] = {}
    if provider.concurrency is not None:
        parts["concurrency"] = max(1, provider.concurrency // workers)
    if provider.calls_per_second is not None:
        parts["calls_per_second"] = provider.calls_per_second / workers
    return provider.model_copy(update=parts)


def _divided(group: G, names: tuple[str, ...], workers: int) -> G:
    parts: dict[str, float] = {}
    for name in names:
        value: float | None = getattr(group, name)
        if value is not None:
            parts[name] = value // workers if isinstance(value, int) else value / workers
    return group.model_copy(update=parts)


def _least(group: BaseModel, name: str) -> int | None:
    """The least value that the setting may have. None if any part of it is a value, as for a rate."""
    limits = (getattr(each, "ge", None) for each in type(group).model_fields[name].metadata)
    return next((least for least in limits if isinstance(least, int)), None)
