"""Reads the event selectors of a trail: basic and advanced ones.

Format: CloudTrail API Reference, `EventSelector` and `AdvancedEventSelector`. Only data events of S3 are of interest.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jibe_sqs.commands.check.facts import Selector

_DATA: Final = "Data"
_READS: Final = ("Get", "Head", "List")


def selectors(answer: Mapping[str, Any]) -> tuple[Selector, ...]:
    """The selectors of data events in an answer of `GetEventSelectors`."""
    return (*_basic(answer.get("EventSelectors") or ()), *_advanced(answer.get("AdvancedEventSelectors") or ()))


def _basic(found: Any) -> Iterator[Selector]:
    for each in found:
        kind = each.get("ReadWriteType") or "All"
        for resource in each.get("DataResources") or ():
            if values := tuple(resource.get("Values") or ()):
                yield Selector(
                    resource=resource.get("Type", ""),
                    reads=kind != "WriteOnly",
                    writes=kind != "ReadOnly",
                    starts=values,
                )


def _advanced(found: Any) -> Iterator[Selector]:
    for each in found:
        fields = {field["Field"]: field for field in each.get("FieldSelectors") or () if "Field" in field}
        if _DATA not in _values(fields, "eventCategory", "Equals"):
            continue
        read_only = _values(fields, "readOnly", "Equals")
        events = _values(fields, "eventName", "Equals")
        reads, writes = "false" not in read_only, "true" not in read_only
        if events:
            reads = reads and any(event.startswith(_READS) for event in events)
            writes = writes and not all(event.startswith(_READS) for event in events)
        for resource in _values(fields, "resources.type", "Equals"):
            yield Selector(
                resource=resource,
                reads=reads,
                writes=writes,
                starts=(*_values(fields, "resources.ARN", "StartsWith"), *_values(fields, "resources.ARN", "Equals")),
                not_starts=_values(fields, "resources.ARN", "NotStartsWith"),
                events=events,
            )


def _values(fields: Mapping[str, Any], field: str, operator: str) -> tuple[str, ...]:
    return tuple(fields.get(field, {}).get(operator) or ())
