"""docs/reference/commands.md: the commands of jibe_sqs.cli, with the exit codes in commands.toml."""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args, get_origin

import typer

from jibe_sqs.cli.app import app

from .document import Page, handwritten, same_names, table

EXIT_CODES: Final = "commands.toml"
EXAMPLE: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)


def commands(command: Any = None, path: tuple[str, ...] = ("jibe-sqs",)) -> Iterator[tuple[str, Any]]:
    """Each command with its full name, such as `jibe-sqs dead-letters list`. A group comes before its commands."""
    command = command or typer.main.get_command(app)
    yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def _facts() -> dict[str, str]:
    exit_codes = handwritten(EXIT_CODES)
    found = dict(commands())
    same_names(exit_codes, found, EXIT_CODES)
    return {"commands": "\n\n".join(_section(name, command, exit_codes[name]) for name, command in found.items())}


def _section(name: str, command: Any, exit_codes: dict[str, str]) -> str:
    arguments = [each for each in command.params if not _is_option(each)]
    words = [name, "[OPTIONS]", *(_name(each) if each.required else f"[{_name(each)}]" for each in arguments)]
    usage = " ".join([*words, *(["COMMAND"] if hasattr(command, "commands") else [])])
    parts = [f"## `{name}`", inspect.cleandoc(command.help or ""), f"```text\n{usage}\n```"]
    rows = [
        (f"`{_name(each)}`", _value(each), _default(each), each.help or "")
        for each in command.params
        if not each.hidden
    ]
    if rows:
        parts.append(table(("option", "value", "default", "meaning"), rows))
    if exit_codes:
        parts.append(table(("exit code", "meaning"), exit_codes.items()))
    return "\n\n".join(part for part in parts if part)


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _name(parameter: Any) -> str:
    if _is_option(parameter):
        return "`, `".join(parameter.opts)
    return f"{parameter.metavar or parameter.name.upper()}{'…' if parameter.nargs == -1 else ''}"


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if kind is bool:
        return ""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is datetime:
        return " or ".join(f"`{EXAMPLE:{format_}}`" for format_ in parameter.type_descriptor.parameter_info.formats)
    if kind in (int, float):
        word = "integer" if kind is int else "number"
        limits = [f"{limit:g}" for limit in (parameter.min, parameter.max) if limit is not None]
        return f"{word}, {' to '.join(limits)}{' or more' if len(limits) == 1 else ''}" if limits else word
    return "texts" if get_origin(kind) is list else "text"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    return "" if default is None or default is False or default == "" else f"`{default}`"


PAGE: Final = Page("commands", _facts)
