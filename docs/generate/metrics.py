"""docs/reference/metrics.md: the table of metrics in the program."""

from typing import Final

from jibe_sqs.telemetry.emf import CLOUDWATCH
from jibe_sqs.telemetry.metrics import MOST_BUCKETS, OTHER, SECTIONS, Metric

from .document import Page, table

COMBINED: Final = {
    "sum": "the sum",
    "max": "the highest",
    "min": "the lowest",
    "worker": "one each, with the label `worker`",
}


def _row(metric: Metric) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return (
        f"`{metric.name}`",
        metric.kind,
        labels,
        metric.help,
        metric.answers,
        metric.remedy,
        COMBINED[metric.combine],
    )


def _sections() -> str:
    columns = ("metric", "type", "labels", "what it is", "what it answers", "if it is bad", "of several workers")
    return "\n\n".join(f"## {title}\n{table(columns, map(_row, metrics))}" for title, metrics in SECTIONS.items())


def _cloudwatch() -> str:
    rows = (
        (
            f"`{each.name}`",
            each.unit,
            f"`{each.metric}`",
            ", ".join(f"`{each}`" for each in each.labels),
            each.is_growth * "growth",
        )
        for each in CLOUDWATCH
    )
    return table(("CloudWatch metric", "unit", "from", "only with", ""), rows)


def _facts() -> dict[str, str]:
    return {
        "metrics": _sections(),
        "cloudwatch": _cloudwatch(),
        "buckets": str(MOST_BUCKETS),
        "other": OTHER,
    }


PAGE: Final = Page("metrics", _facts)
