"""docs/reference/configuration.md: the tables of settings, from the settings model."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from jibe_sqs.settings import RoleSettings, Settings
from jibe_sqs.settings.sources import PREFIX

from .document import Page, table

TABLES: Final = (
    "access_anywhere", "queues", "logs", "key_encodings", "notifications", "sns", "buckets", "ignore_keys ignore_buckets", "own_writes principals", "aws", "ledger",
    "limits", "retry", "poll workers drain_timeout", "sync watermark_margin tree_refresh_interval", "providers",
    "compare",
    "log progress_interval report alerts http health control",
    "metrics", "tracing", "audit",
)  # fmt: skip
"""The tables of the page. Each holds these groups and settings."""

Schema = Mapping[str, Any]


class Setting(NamedTuple):
    """One setting. `name` is dotted, such as `queues.url`."""

    name: str
    schema: Schema
    """What the model's JSON schema says of it, with its description and default."""
    is_required: bool
    variable: str


def settings() -> Iterator[Setting]:
    """Every setting that is not a group of others."""
    schema = Settings.model_json_schema()
    yield from _settings(schema, schema["$defs"], "", is_entry=False)


def _settings(group: Schema, definitions: Schema, above: str, *, is_entry: bool) -> Iterator[Setting]:
    for name, schema in group["properties"].items():
        path = f"{above}{name}"
        inner, is_list = _group_in(schema, definitions)
        if inner:
            yield from _settings(inner, definitions, f"{path}.", is_entry=is_entry or is_list)
            continue
        variable = f"{PREFIX}{path.replace('.', '__').upper()}"
        if is_entry:
            variable = f"in {PREFIX}{path.partition('.')[0].upper()}"
        yield Setting(path, _resolved(schema, definitions), name in group.get("required", ()), variable)


def _group_in(schema: Schema, definitions: Schema) -> tuple[Schema | None, bool]:
    """The group of settings that a schema holds, and whether it is the entry of a list or of an object."""
    schema = _resolved(schema, definitions)
    if "properties" in schema:
        return schema, False
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            return _group_in(schema[name], definitions)[0], True
    return None, False


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema without references, and without the alternative `null` of optional settings. Its own words come first."""
    for alternative in schema.get("anyOf", ()):
        if alternative.get("type") != "null":
            return {**_resolved(alternative, definitions), **schema}
    if "$ref" in schema:
        return {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    return schema


def _facts() -> dict[str, str]:
    found = list(settings())
    placed = {each.name: [name for name in TABLES if _is_in(each, name)] for each in found}
    if wrong := [name for name, tables in placed.items() if len(tables) != 1]:
        raise ValueError(f"configuration.md: not in exactly one table: {wrong}")
    found.sort(key=_is_about_the_store)
    return {name: _table([each for each in found if _is_in(each, name)]) for name in TABLES}


def _is_in(setting: Setting, table_name: str) -> bool:
    return setting.name.partition(".")[0] in table_name.split()


def _is_about_the_store(setting: Setting) -> bool:
    """Whether it is an address or a credential of an entry. They come after the entry's own settings."""
    group, _, name = setting.name.partition(".")
    return group in ("queues", "logs", "ledger") and name in RoleSettings.model_fields


def _table(found: list[Setting]) -> str:
    rows = (
        (f"`{each.name}`<br>{_variable(each)}", _value(each.schema), default(each), meaning(each)) for each in found
    )
    return table(("setting, and its variable", "value", "default", "meaning"), rows)


def _variable(setting: Setting) -> str:
    before, _, name = setting.variable.rpartition(" ")
    return f"{before} `{name}`".strip()


def _value(schema: Schema) -> str:
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list: {_value(schema['items'])}"
    if schema.get("type") == "object":
        return f"object: {_value(schema['additionalProperties'])}"
    names = {"string": "text", "boolean": "`true` or `false`", "path": "path of a file", "password": "text"}
    kind = schema.get("kind") or schema.get("format") or schema["type"]
    return f"{names.get(kind, kind)}{_limits(schema)}"


def _limits(schema: Schema) -> str:
    # pydantic writes the limits of an optional value as `ge`.
    least, most = schema.get("minimum", schema.get("ge")), schema.get("maximum", schema.get("le"))
    unit = " s" if "duration" in schema.get("kind", "") else ""
    if least is not None and most is not None:
        return f", {_number(least)} to {_number(most)}{unit}"
    if least is not None:
        return (
            f", {size(least) if schema.get('kind') == 'bytes' else _number(least)}{unit} or more" if least > 0 else ""
        )
    if "exclusiveMinimum" in schema:
        above = f", more than {_number(schema['exclusiveMinimum'])}"
        return f"{above}, at most {_number(most)}" if most is not None else above
    return ""


def default(setting: Setting) -> str:
    """The default, with its unit."""
    if setting.is_required:
        return "required"
    value, kind = setting.schema.get("default"), setting.schema.get("kind", "")
    if value in (None, "", [], {}):
        return "not set"
    if kind == "bytes":
        return f"`{value}` ({size(value)})"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"`{_number(value)}`{' s' if 'duration' in kind else ''}"
    return f"`{value}`"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def size(number: int) -> str:
    """Bytes, in the largest unit that gives a whole number."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number % size == 0:
            return f"{number // size} {unit}"
    return str(number)


def meaning(setting: Setting) -> str:
    """The description, as sentences."""
    text = f"{setting.schema['description']}."
    return f"{text[0].upper()}{text[1:]}{' Secret.' if setting.schema.get('writeOnly') else ''}"


PAGE: Final = Page("configuration", _facts)
