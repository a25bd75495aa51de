"""The JSON Schema (2020-12) of the configuration file, for editors.

It allows what the loader accepts in a file: `3m` for a duration, one text for a list of one, and the keys of Jibe and Okera. No
group is required, because its settings may come from variables and secret files. The loader checks more than a schema can.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from jibe_sqs.settings.model import Settings
from jibe_sqs.settings.sources import JIBE, OKERA, SOURCES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DURATION: Final = r"^\s*\d+(\.\d+)?\s*[smhd]?\s*$"
PLACE: Final = "#/$defs/PlaceSettings"
ENTRIES: Final = frozenset({"QueueSettings", "LogSettings", "PlaceSettings", "NotificationSettings", "BatchSettings"})
"""Groups that come from one source as a whole, so they must be complete there."""

_NOT_FOR_EDITORS: Final = frozenset({"title", "kind", "writeOnly"})
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""pydantic writes the bounds of an optional value under its own names."""

Schema = dict[str, Any]


def configuration_schema() -> Schema:
    """The schema, as JSON can represent it."""
    found: Schema = Settings.model_json_schema()
    groups = {name: _group(name, _for_editors(group)) for name, group in found.pop("$defs").items()}
    whole = _without_required(_for_editors(found))
    whole["properties"] |= _foreign_keys()
    return {
        "$schema": DIALECT,
        "title": "The configuration of jibe-sqs",
        **{name: part for name, part in whole.items() if name != "description"},
        "$defs": groups,
    }


def _foreign_keys() -> Schema:
    text = {"type": "string"}
    known = {name: text | {"description": "a key of Jibe or Okera"} for name in sorted(JIBE | OKERA)}
    sources = {"type": "array", "description": "Jibe's list of sources", "items": {"type": "object"}}
    return {"$schema": text | {"description": "the address of this schema, for editors"}, SOURCES: sources} | known


def _group(name: str, group: Schema) -> Schema:
    return group if name in ENTRIES else _without_required(group)


def _without_required(group: Schema) -> Schema:
    return {name: part for name, part in group.items() if name != "required"}


def _for_editors(schema: Any, *, is_name: bool = False) -> Any:
    """The same schema, as a file may be written. `is_name`: its keys are names of settings, not words of JSON Schema."""
    if isinstance(schema, list):
        return [_for_editors(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    if is_name:
        return {name: _for_editors(each) for name, each in schema.items()}
    kind = str(schema.get("kind", ""))
    parts: Schema = {}
    for name, part in schema.items():
        if name in _NOT_FOR_EDITORS:
            continue
        if name in ("default", "enum", "const"):
            parts[name] = part
        elif name == "description":
            parts[name] = _LINK.sub(r"\1", part)
        else:
            parts[_BOUNDS.get(str(name), str(name))] = _for_editors(part, is_name=name == "properties")
    return _accepted(parts, kind)


def _accepted(schema: Schema, kind: str) -> Schema:
    """The schema with the other ways in which the same value can be written."""
    if kind.startswith("duration"):
        return _alternatives(schema, {"type": "string", "pattern": DURATION})
    if kind.startswith("integer"):  # the number of workers
        return _about(schema) | {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 64}, {"const": "auto"}]}
    if kind and "type" not in schema and "anyOf" not in schema:
        return schema | {"type": "string"}
    if schema.get("type") == "array":
        # pydantic writes the least length of a tuple as that of a text.
        if "minLength" in schema:
            schema["minItems"] = schema.pop("minLength")
        items = schema.get("items", {})
        if items.get("$ref") == PLACE:
            items = schema["items"] = {"anyOf": [items, {"type": "string"}]}
            return _alternatives(schema, items)
        if items.get("type") == "string":
            return _alternatives(schema, items)
    return schema


def _alternatives(schema: Schema, other: Schema) -> Schema:
    value = {name: part for name, part in schema.items() if name not in ("description", "default")}
    return _about(schema) | {"anyOf": [value, other]}


def _about(schema: Schema) -> Schema:
    return {name: part for name, part in schema.items() if name in ("description", "default")}
