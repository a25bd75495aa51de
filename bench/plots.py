"""Plots of the growth curves, as SVG."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pygal
from pygal.style import Style

from bench.growth import Curve

# pygal's finder lacks find_spec: Python would warn at each later import of a module that does not exist.
sys.meta_path[:] = [each for each in sys.meta_path if hasattr(each, "find_spec")]

FOLDER: Final = Path(__file__).parent.parent / "docs" / "explanation" / "performance"
_STYLE: Final = Style(
    background="white", plot_background="white", font_family="sans-serif", colors=("#0b6fa4", "#d95f02"), stroke_width=2
)


def write(curves: Sequence[Curve]) -> list[Path]:
    """Write one file for each curve: time on the left, memory on the right, over the size."""
    FOLDER.mkdir(exist_ok=True)
    return [_write(curve) for curve in curves]


def _write(curve: Curve) -> Path:
    # The sizes are half a decade apart, so equal steps are a logarithmic axis.
    chart = pygal.Line(
        style=_STYLE,
        width=720,
        height=380,
        include_x_axis=True,
        legend_at_bottom=True,
        x_title=curve.x,
        title=f"Growth: {curve.name}",
        js=(),
        disable_xml_declaration=True,
    )
    chart.x_labels = [f"{point.size:,}" for point in curve.points]
    chart.add(curve.y, [round(point.microseconds) for point in curve.points])
    chart.add("MB (right)", [round(point.megabytes) for point in curve.points], secondary=True)
    path = FOLDER / f"{curve.name}.svg"
    path.write_text(chart.render(is_unicode=True) + "\n")
    return path
