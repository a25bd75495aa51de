"""Numbers, durations and moments as people read them."""

from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup, escape

from jibe_sqs.core.json_bytes import json_bytes
from jibe_sqs.core.phrases import about
from jibe_sqs.telemetry.printable import printable

MAX_TEXT: Final = 300
"""Characters of one text of the page. Keys and error texts may be longer."""
NOTHING: Final = Markup('<span class="nothing">–</span>')
"""What is not known."""


def number(value: float | None) -> str | Markup:
    """A count with separators: `12,345`."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share as a percentage that is never rounded to all or nothing: `99.99 %`, `< 0.01 %`."""
    if share >= 1:
        return "100 %"
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{min(share * 100, 99.99):.2f} %"


def span(seconds: float | None) -> str | Markup:
    """A duration: `0.4 s`, `42 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return NOTHING
    return f"{seconds:.1f} s".replace(".0 s", " s") if 0 < seconds < 9.95 else about(seconds)


def utc(at: float) -> str:
    """`2026-11-30 02:10:05 UTC`."""
    return f"{_datetime(at):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: float) -> str:
    """The time of the day: `02:10 UTC`."""
    return f"{_datetime(at):%H:%M} UTC"


def moment(at: float | None, now: float) -> str | Markup:
    """A moment in relative words, with its exact time for machines and for a pointer. A missing moment is 0 or None."""
    if not at:
        return NOTHING
    away = now - at
    if abs(away) < 1:
        words: str | Markup = "now"
    else:
        words = f"{about(away)} ago" if away > 0 else f"in {about(-away)}"
    return exact(at, words)


def exact(at: float, words: str | Markup) -> Markup:
    """These words for a moment."""
    found = utc(at)
    return Markup(f'<time datetime="{found[:10]}T{found[11:19]}Z" title="{found}">{escape(words)}</time>')  # noqa: S704


def tagged(text: str, kind: str) -> Markup:
    """The text as an element of this class of the style sheet, shortened and escaped."""
    return Markup(f'<span class="{kind}">{escape(shortened(text))}</span>')  # noqa: S704


def code(text: str) -> Markup:
    """A name that a machine uses: a key, a bucket, a setting."""
    return tagged(text, "name") if text else NOTHING


def shortened(text: str) -> str:
    """The text, without its middle if it is very long, and with its control characters replaced."""
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT - 80]} … {text[-60:]}"
    return text if text.isprintable() else printable(text)


def value(anything: Any) -> Markup:
    """The value of a setting, as in a configuration file."""
    if anything is None:
        return tagged("not set", "nothing")
    text = anything if isinstance(anything, str) else json_bytes(anything, enc_hook=str).decode()
    return tagged(text or "“”", "name")


def _datetime(at: float) -> datetime:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
