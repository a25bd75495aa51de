"""docs/reference/bad-input.md: the corpus, and what the handler says of each."""

import asyncio
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from .cases import FOLDER, LIMITS, REJECT, RETRY
from .corpus import CORPUS
from .handled import Outcome, handled

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"
WIDTH: Final = 130
"""Characters of a reason that are shown."""

_INTRODUCTION: Final = """\
# Bad input

Whatever may stand in the queue, or in a log bucket, and what becomes of it. `make docs` writes this from
`tests/bad_input/`, where each of these {number} goes through the handler, and then all of them, in a random order and with good
messages between, through a live service: it stays up, settles each as it says here, and goes on with the good ones.

| verdict | the message |
|---|---|
| `DONE` | is deleted: nothing is wrong with it that anybody could mend, or nothing at all |
| `RETRY` | shows again later, as a file can be replaced; after the queue's maximum of receives it is a dead letter, with this reason |
| `REJECT` | is a dead letter at once, with this reason |

What to do about a dead letter is told in [operations](operations.md#dead-letters). The limits here are lower than their
defaults, so that what is huge is cheap: {limits}.
"""


def generated() -> str:
    """The whole document."""
    limits = ", ".join(f"`{name}` {value:,}" for name, value in msgspec.structs.asdict(LIMITS).items())
    parts = [_INTRODUCTION.format(number=len(CORPUS), limits=limits)]
    for group, cases in groupby(CORPUS, key=lambda case: case.group):
        rows = [f"| {case.name} | {_verdict(outcome)} | {_reason(outcome)} |" for case, outcome in _handled(cases)]
        parts.append("\n".join([f"## {group}\n", "| input | verdict | reason |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def without_numbers(document: str) -> str:
    """To be compared: libraries of compression differ by a few bytes."""
    return re.sub(r"[0-9][0-9,]*", "9", document)


def _handled(cases: Iterator) -> Iterator:
    for case in cases:
        yield case, asyncio.run(handled(case.body(), case.files()))


def _verdict(outcome: Outcome) -> str:
    return f"`{outcome.verdict}` {outcome.error}".strip()


def _reason(outcome: Outcome) -> str:
    text = outcome.reason
    if outcome.verdict in (RETRY, REJECT):
        text = text.removeprefix(f"{outcome.error}: ")
    text = text.replace(FOLDER, "…")
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    if len(text) > WIDTH:
        text = f"{text[: WIDTH // 2]} … {text[-WIDTH // 2 :]}"
    ticks = "``" if "`" in text else "`"
    return f"{ticks} {text} {ticks}".replace("|", "\\|") if "`" in text else f"`{text}`".replace("|", "\\|")
