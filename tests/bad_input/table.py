"""docs/reference/bad-input.md: each case of the corpus, with the handler's verdict and reason."""

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
MAX_REASON: Final = 130
"""Characters of a reason. A longer one is cut in its middle."""

_INTRODUCTION: Final = """\
# Bad input

Bad messages in a queue, bad files in a log bucket, and what the service does with them. `make docs` writes this page from
`tests/bad_input/`. The tests there send each of these {number} inputs through the handler. They also send all of them through
a running service, in a random order and mixed with good messages: the service keeps running, settles each message as listed
here, and processes the good ones.

| verdict | the message |
|---|---|
| `DONE` | is deleted: the input is good, or has an error that cannot be corrected |
| `RETRY` | is shown again later, because a file can be replaced. After the queue's maximum of receives it is a dead letter, with this reason |
| `REJECT` | becomes a dead letter at once, with this reason |

What to do about each error: see [errors](errors.md). The limits here are lower than the defaults, so
that the inputs are small: {limits}.
"""


def generated() -> str:
    """The text of the document."""
    limits = ", ".join(f"`{name}` {value:,}" for name, value in msgspec.structs.asdict(LIMITS).items())
    parts = [_INTRODUCTION.format(number=len(CORPUS), limits=limits)]
    for group, cases in groupby(CORPUS, key=lambda case: case.group):
        rows = [f"| {case.name} | {_verdict(outcome)} | {_reason(outcome)} |" for case, outcome in _handled(cases)]
        parts.append("\n".join([f"## {group}\n", "| input | verdict | reason |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def without_numbers(document: str) -> str:
    """The document for a comparison. Versions of compression libraries differ by a few bytes."""
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
    if len(text) > MAX_REASON:
        text = f"{text[: MAX_REASON // 2]} … {text[-MAX_REASON // 2 :]}"
    ticks = "``" if "`" in text else "`"
    return f"{ticks} {text} {ticks}".replace("|", "\\|") if "`" in text else f"`{text}`".replace("|", "\\|")
