"""Small charts of the last hour: one bar a minute, as inline SVG with a sentence for those who do not see it."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from jibe_sqs.adapters.web.words import clock
from jibe_sqs.core.phrases import counted
from jibe_sqs.telemetry.status import Minute

MINUTES: Final = 60
HEIGHT: Final = 40
"""Units of the drawing. Its width is one unit a minute."""
_GAP: Final = 0.2
_LEAST: Final = 1.0
"""The height of the smallest bar that is not 0, so that one event is seen beside ten thousand."""


class Bar(NamedTuple):
    """A rectangle, in units of the drawing."""

    x: float
    y: float
    width: float
    height: float


class Chart(NamedTuple):
    """`now`: the count of the last whole minute. `bad`: bars of failures, which are drawn over the others."""

    title: str
    text: str
    now: int
    highest: int
    total: int
    bars: list[Bar]
    bad: list[Bar]


def charts(minutes: Sequence[Minute]) -> list[Chart]:
    """Events and refreshes."""
    shown = [each for each in minutes if each.at > minutes[-1].at - 60 * MINUTES] if minutes else []
    return [
        _chart("Events a minute", "event", shown, lambda each: each.events),
        _chart("Refreshes a minute", "refresh", shown, lambda each: each.refreshes, lambda each: each.failures),
    ]


def _chart(
    title: str,
    noun: str,
    minutes: Sequence[Minute],
    count: Callable[[Minute], int],
    failures: Callable[[Minute], int] = lambda _: 0,
) -> Chart:
    highest = max((max(count(each), failures(each)) for each in minutes), default=0)
    total, failed = sum(map(count, minutes)), sum(map(failures, minutes))
    whole = minutes[:-1]
    now = count(whole[-1]) if whole else 0
    text = f"No {_plural(noun)} in the last hour."
    if highest:
        peak = max(minutes, key=lambda each: max(count(each), failures(each)))
        text = (
            f"{counted(total, noun, _plural(noun))} in the last hour: {now:,} in the last whole minute, at most "
            f"{highest:,}, at {clock(peak.at)}."
        )
    if failed:
        text += f" {failed:,} failed."
    return Chart(title, text, now, highest, total, _bars(minutes, count, highest), _bars(minutes, failures, highest))


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("sh") else f"{noun}s"


def _bars(minutes: Sequence[Minute], count: Callable[[Minute], int], highest: int) -> list[Bar]:
    bars: list[Bar] = []
    for each in minutes:
        if not (value := count(each)):
            continue
        height = round(max(value / highest * HEIGHT, _LEAST), 2)
        place = MINUTES - 1 - round((minutes[-1].at - each.at) / 60)
        bars.append(Bar(round(place + _GAP / 2, 2), round(HEIGHT - height, 2), 1 - _GAP, height))
    return bars
