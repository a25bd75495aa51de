"""Translates the configuration files of Jibe and Okera into the settings of jibe-sqs.

Jibe's documentation shows `endpoint`, `login`, `password` and `sources`, a list of `{"name": PROVIDER, "flavor": FLAVOR, …}`.
Its keys for queues are not public, so an entry for a queue must use the names of our `queues`. A source without an equivalent
in jibe-sqs is a mistake. An unknown key is a mistake if its name suggests that it selects what is synchronised. Any other
unknown key is ignored with a warning.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog

from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings.groups.stores import QueueSettings
from jibe_sqs.settings.sources import JIBE, OKERA, SOURCES, add_defaults

log = structlog.get_logger()

Values = dict[str, Any]

_FLAVORS: Final = ("CloudTrail", "SQS", "SNS", "Cloudian", "SMB")

_QUEUE: Final = '{"url": "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"}'
_CLOUDIAN: Final = (
    '{"url": "https://SQS-HOST/ACCOUNT/NAME", "endpoint": "https://SQS-HOST", "region": "REGION", '
    '"access_key_id": "…", "secret_access_key": "…"}'
)
_LOGS: Final = '{"bucket": "BUCKET", "prefix": "PREFIX", "via": "access-anywhere", "sweep": "3m"}'

_SELECTING_KEYS: Final = {
    "provider": "providers in an entry of logs",
    "bucket|include|exclude|filter": "buckets, with a prefix if only a part is meant",
    "queue|sqs|sns|topic": f"queues: [{_QUEUE}]",
    "source|flavor|cloudtrail": f"sources, or logs: [{_LOGS}]",
    "smb|^share$": "nothing, because jibe-sqs does not handle SMB shares",
}
"""Patterns of keys that may select what is synchronised, each with the setting to write instead."""

_EQUIVALENTS: Final = {
    "slack|webhook|alert": "alerts.webhook",
    "report|upload": "report.interval, report.folder",
    "log|debug|verbose": "log.level, log.format",
    "poll|scan|interval": "logs.sweep, poll.wait",
    "thread|worker|concurren": "access_anywhere.concurrency",
    "timeout": "access_anywhere.timeout",
    "ssl|tls|cert|verify": "access_anywhere.ca_file",
}
"""Patterns of other keys, each with our settings for the same purpose."""


def translated(values: Values, ours: Collection[str]) -> tuple[Values, list[str]]:
    """Returns the values under our names, and the mistakes.

    `ours`: the names of our settings. If a value is given under our name and under a foreign name, ours is used.
    """
    if not values.keys() & (JIBE | OKERA | {SOURCES}):
        return values, []
    values, problems = _without_unknown(values, {*ours, *JIBE, *OKERA, SOURCES})
    add_defaults(values, "access_anywhere", {name: values.pop(name) for name in JIBE if name in values})
    queue = {"url": values.pop("sqsUrl", None), "region": values.pop("sqsRegion", None)}
    if any(queue.values()):
        values.setdefault("queues", [{name: value for name, value in queue.items() if value}])
    if region := values.pop("s3Region", None):
        add_defaults(values, "aws", {"region": region})
    return values, problems + _map_sources(values, values.pop(SOURCES, []))


def _without_unknown(values: Values, known: Collection[str]) -> tuple[Values, list[str]]:
    kept, problems = {}, []
    for name, value in values.items():
        # A name that resembles one of ours is misspelt. Validation reports it. Only `provider` is more likely to select a
        # provider, as a source does, than to set its limits.
        if name in known or difflib.get_close_matches(name, {*known} - {"providers"}, 1, cutoff=0.8):
            kept[name] = value
        elif instead := _lookup(name, _SELECTING_KEYS):
            problems.append(
                f"{name}: not a key that Jibe documents, and it may select what is synchronised: write {instead}"
            )
        else:
            same = _lookup(name, _EQUIVALENTS)
            log.warning("setting_ignored", setting=name, **({"instead": same} if same else {}))
    return kept, problems


def _lookup(name: str, table: Mapping[str, str]) -> str | None:
    return next((instead for words, instead in table.items() if re.search(words, name, re.IGNORECASE)), None)


def _map_sources(values: Values, sources: object) -> list[str]:
    """Adds an entry of `logs` or `queues` for each source. Returns the mistakes."""
    if not isinstance(sources, list):
        return [f'{SOURCES}: must be a list, such as [{{"name": "PROVIDER", "flavor": "CloudTrail"}}]']
    problems: list[str] = []
    providers: list[object] = []
    queues: list[Values] = []
    for number, source in enumerate(sources):
        path = f"{SOURCES}.{number}"
        if not isinstance(source, dict):
            problems.append(f"{path}: must be an object with name and flavor")
            continue
        name = source.get("name")
        if name is not None and not (isinstance(name, str) and name):
            problems.append(f"{path}.name: must be the name of a provider")
        keys = {key: value for key, value in source.items() if key not in ("name", "flavor")}
        match _flavor(source.get("flavor")):
            case "CloudTrail" if keys:
                problems.append(
                    f"{path}: CloudTrail: {_names(keys)}: not a key that Jibe documents: write logs: [{_LOGS}]"
                )
            case "CloudTrail":
                providers.append(name)
            case "SMB":
                problems.append(
                    f"{path}: SMB: jibe-sqs does not handle SMB shares: remove this source, and keep Jibe for it"
                )
            case "SQS" | "SNS" | "Cloudian" as flavor:
                problems += _queue_problems(f"{path}: {flavor}", keys, _CLOUDIAN if flavor == "Cloudian" else _QUEUE)
                queues.append(keys)
            case _:
                problems.append(f"{path}.flavor: must be one of {', '.join(_FLAVORS)}")
    if queues and not problems:
        _append(values, "queues", queues)
    if providers and not problems:
        # A source without a name covers every provider.
        named = {"providers": providers} if all(providers) else {}
        _append(values, "logs", [{"bucket": EVERY_BUCKET, "via": "access-anywhere", "sweep": "3m", **named}])
    return problems


def _flavor(written: object) -> str | None:
    return next((flavor for flavor in _FLAVORS if str(written).casefold() == flavor.casefold()), None)


def _queue_problems(path: str, keys: Values, example: str) -> list[str]:
    unknown = keys.keys() - QueueSettings.model_fields.keys()
    if unknown:
        reason = f"{_names(unknown)}: neither a key that Jibe documents nor a setting of queues"
    elif "url" not in keys:
        reason = "the queue's url is missing"
    else:
        return []
    return [f"{path}: {reason}: write queues: [{example}]"]


def _names(keys: Collection[str]) -> str:
    return ", ".join(sorted(keys))


def _append(values: Values, name: str, entries: list[Values]) -> None:
    ours = values.get(name, [])
    # Validation reports a value that is not a list.
    values[name] = [*ours, *entries] if isinstance(ours, list | tuple) else ours
