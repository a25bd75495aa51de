"""Write docs/flow.svg, the picture in the README, from docs/flow.txt."""

from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

HERE: Final = Path(__file__).parent
SOURCE: Final = HERE / "flow.txt"
OUTPUT: Final = HERE / "flow.svg"

BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN = 164, 82, 24, 14
"""Pixels, as are all lengths here."""
ROW_DISTANCE: Final = 150

STYLE: Final = """\
    .box { fill: #ffffff; stroke: #8c959f; }
    .own { fill: #ddf4ff; stroke: #0969da; stroke-width: 2; }
    .zone { fill: #f6fbff; stroke: #0969da; stroke-dasharray: 5 4; }
    .line { stroke: #57606a; stroke-width: 1.6; fill: none; }
    .tip { fill: #57606a; }
    .zoom { stroke: #0969da; stroke-dasharray: 5 4; fill: none; }
    text { font-family: -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle; }
    .title { font-size: 14.5px; font-weight: 600; fill: #1f2328; }
    .text { font-size: 12.5px; fill: #57606a; }
    @media (prefers-color-scheme: dark) {
      .box { fill: #161b22; stroke: #6e7681; }
      .own { fill: #0c2d6b; stroke: #58a6ff; }
      .zone { fill: #0d1a2d; stroke: #58a6ff; }
      .line { stroke: #9198a1; }
      .tip { fill: #9198a1; }
      .zoom { stroke: #58a6ff; }
      .title { fill: #f0f6fc; }
      .text { fill: #b1bac4; }
    }
"""


class Box(NamedTuple):
    """One line of the source."""

    title: str
    text: tuple[str, ...]
    is_shown_from_inside: bool


def rows(source: str) -> list[list[Box]]:
    """Parse the source: rows are separated by empty lines."""
    lines = "\n".join(line for line in source.splitlines() if not line.startswith("#"))
    return [[_box(line) for line in row.splitlines()] for row in lines.strip().split("\n\n")]


def generated() -> str:
    """Return the picture as SVG."""
    found = rows(SOURCE.read_text(encoding="utf-8"))
    width = 2 * MARGIN + max(len(row) for row in found) * (BOX_WIDTH + GAP) - GAP
    height = 2 * MARGIN + (len(found) - 1) * ROW_DISTANCE + BOX_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "  <title>How a change in S3 reaches Access Anywhere</title>",
        f"  <style>\n{STYLE}  </style>",
    ]
    for number, row in enumerate(found):
        top = MARGIN + number * ROW_DISTANCE
        if number:
            parts += _frame(found[number - 1], len(row), top)
        for column, box in enumerate(row):
            left = MARGIN + column * (BOX_WIDTH + GAP)
            parts += _drawn(box, left, top)
            if column:
                parts += _arrow(left - GAP, top + BOX_HEIGHT // 2)
    return "\n".join([*parts, "</svg>", ""])


def _box(line: str) -> Box:
    title, *text = (part.strip() for part in line.split("|"))
    return Box(title.removeprefix("* "), tuple(text), title.startswith("* "))


def _drawn(box: Box, left: int, top: int) -> list[str]:
    middle = left + BOX_WIDTH // 2
    kind = "own" if box.is_shown_from_inside else "box"
    lines = [f'  <rect class="{kind}" x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>']
    lines.append(f'  <text class="title" x="{middle}" y="{top + 28}">{escape(box.title)}</text>')
    for number, text in enumerate(box.text):
        lines.append(f'  <text class="text" x="{middle}" y="{top + 49 + 17 * number}">{escape(text)}</text>')
    return lines


def _arrow(left: int, y: int) -> list[str]:
    end = left + GAP - 3
    return [
        f'  <path class="line" d="M{left + 3} {y}H{end - 6}"/>',
        f'  <path class="tip" d="M{end} {y}l-9 -5v10z"/>',
    ]


def _frame(above: list[Box], count: int, top: int) -> list[str]:
    """Frame a row, and connect the frame with the box above that it shows from inside."""
    column = next(number for number, box in enumerate(above) if box.is_shown_from_inside)
    left, right = MARGIN // 2, MARGIN + count * (BOX_WIDTH + GAP) - GAP + MARGIN // 2
    box_left = MARGIN + column * (BOX_WIDTH + GAP)
    bottom = top - ROW_DISTANCE + BOX_HEIGHT
    y = top - MARGIN
    return [
        f'  <rect class="zone" x="{left}" y="{y}" width="{right - left}" height="{BOX_HEIGHT + 2 * MARGIN}" rx="10"/>',
        f'  <path class="zoom" d="M{box_left + 8} {bottom}L{left + 8} {y}"/>',
        f'  <path class="zoom" d="M{box_left + BOX_WIDTH - 8} {bottom}L{right - 8} {y}"/>',
    ]


if __name__ == "__main__":
    OUTPUT.write_text(generated(), encoding="utf-8")
