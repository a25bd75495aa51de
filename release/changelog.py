"""CHANGELOG.md, in the format of Keep a Changelog: an `[Unreleased]` section, then a dated section for each version."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

UNRELEASED: Final = "Unreleased"
_HEADING: Final = re.compile(r"^## \[([^\]]+)\](?: - (\S+))?[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    date: str | None
    text: str


def sections(changelog: str) -> list[Section]:
    headings = list(_HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in headings[1:]), len(changelog)]
    return [
        Section(heading[1], heading[2], changelog[heading.end() : end].strip())
        for heading, end in zip(headings, ends, strict=True)
    ]


def problems(changelog: str, version: str) -> list[str]:
    """Why this is not the changelog of a release of that version."""
    found = sections(changelog)
    if not found or found[0].name != UNRELEASED:
        return [f"the first section is not [{UNRELEASED}]"]
    wrong = [f"[{UNRELEASED}] has entries"] if _entries(found[0]) else []
    newest = found[1] if len(found) > 1 else None
    if newest is None or newest.name != version:
        return [*wrong, f"the section after [{UNRELEASED}] is not [{version}]"]
    if not _is_date(newest.date):
        wrong.append(f"the section [{version}] has no date: ## [{version}] - YYYY-MM-DD")
    if not _entries(newest):
        wrong.append(f"the section [{version}] has no entries")
    return wrong


def released(changelog: str, version: str, day: date) -> str:
    """Make the unreleased entries the section of a version. Raises ValueError if there are none, or it has a section."""
    found = sections(changelog)
    if any(section.name == version for section in found):
        raise ValueError(f"CHANGELOG.md has a section [{version}] already")
    if not found or found[0].name != UNRELEASED or not _entries(found[0]):
        raise ValueError(f"[{UNRELEASED}] in CHANGELOG.md has no entries: there is nothing to release")
    heading = f"## [{UNRELEASED}]"
    return changelog.replace(heading, f"{heading}\n\n## [{version}] - {day.isoformat()}", 1)


def _entries(section: Section) -> list[str]:
    return re.findall(r"^[-*] ", section.text, re.MULTILINE)


def _is_date(text: str | None) -> bool:
    try:
        return date.fromisoformat(text or "").isoformat() == text
    except ValueError:
        return False
