"""docs/reference/log-events.md: the log events in the source, with the meanings in log_events.toml."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jibe_sqs

from .document import Page, handwritten, same_names, table

SOURCE: Final = Path(jibe_sqs.__file__).parent
MEANINGS: Final = "log_events.toml"
LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


class Event:
    """All calls that log one event name."""

    def __init__(self) -> None:
        self.levels: set[str] = set()
        self.fields: dict[str, None] = {}
        self.modules: set[str] = set()


def events() -> dict[str, Event]:
    """All events of the service, by name."""
    found: dict[str, Event] = {}
    declared = {name: entry for name, entry in handwritten(MEANINGS).items() if "level" in entry}
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if module.startswith("sandbox."):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = list(_calls(tree))
        if any(not name for name, _, _ in calls):
            constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            named = {name: entry for name, entry in declared.items() if name in constants}
            if not named:
                raise ValueError(f"{MEANINGS}: {module} logs events from a variable: add them, with level and fields")
            calls += [(name, {entry["level"]}, entry["fields"]) for name, entry in named.items()]
        for name, levels, fields in filter(lambda call: call[0], calls):
            event = found.setdefault(name, Event())
            event.levels |= levels
            event.fields |= dict.fromkeys(fields)
            event.modules.add(module)
    return found


def _calls(tree: ast.Module) -> Iterator[tuple[str, set[str], list[str]]]:
    """Name, levels and fields of each call `log.LEVEL("name", field=…)`. The name is empty if it is in a variable.

    `LEVEL` may be chosen before, as in `report = log.info if … else log.debug`.
    """
    variables: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            chosen = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
            levels = {level for each in chosen if (level := _level(each))}
            if levels:
                variables[node.targets[0].id] = levels
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        level = _level(node.func)
        levels = {level} if level else variables.get(node.func.id, set()) if isinstance(node.func, ast.Name) else set()
        if levels:
            first = node.args[0] if node.args else None
            name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
            yield name, levels, [keyword.arg or "…" for keyword in node.keywords]


def _level(function: ast.expr) -> str | None:
    is_log = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"
    return LEVELS.get(function.attr) if is_log and isinstance(function, ast.Attribute) else None


def _facts() -> dict[str, str]:
    found, meanings = events(), handwritten(MEANINGS)
    same_names(meanings, found, MEANINGS)
    return {
        "events": table(
            ("event", "level", "meaning, and what to do", "fields", "module"),
            (
                (
                    f"`{name}`",
                    ", ".join(sorted(event.levels)),
                    " ".join(meanings[name][part] for part in ("meaning", "remedy") if part in meanings[name]),
                    ", ".join(
                        "…" if field == "…" else f"`{field}`" for field in meanings[name].get("fields", event.fields)
                    ),
                    ", ".join(f"`{module}`" for module in sorted(event.modules)),
                )
                for name, event in sorted(found.items())
            ),
        )
    }


PAGE: Final = Page("log-events", _facts)
