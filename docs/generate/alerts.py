"""docs/reference/alerts.md: what to do about each alert, from the log events and the states that end."""

import textwrap
from typing import Final

from jibe_sqs.telemetry.alert_kinds import BY_EVENT

from .document import Page, handwritten
from .log_events import MEANINGS, events

WIDTH: Final = 128
"""Characters of a line."""
ALERTING: Final = frozenset({"warning", "error", "critical"})


def _facts() -> dict[str, str]:
    meanings = handwritten(MEANINGS)
    return {
        "alerts": "\n\n".join(
            _section(name, ", ".join(sorted(event.levels & ALERTING)), meanings[name])
            for name, event in sorted(events().items())
            if event.levels & ALERTING
        )
    }


def _section(name: str, levels: str, texts: dict[str, str]) -> str:
    paragraphs = [f"{levels.capitalize()}. {texts['meaning']}"]
    if remedy := texts.get("remedy"):
        paragraphs.append(f"**What to do:** {remedy}")
    if state := BY_EVENT.get(name):
        once = "each process sends it" if state.is_own else "replicas that share a ledger send it once"
        paragraphs.append(f"**Resolved** by `{state.ended_by}`; {once}.")
    return f"## {name}\n" + "\n\n".join(_wrapped(each) for each in paragraphs)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


PAGE: Final = Page("alerts", _facts)
