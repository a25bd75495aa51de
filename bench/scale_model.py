"""What a load needs, by the scaling model: of your site with `--changes`, or the tables of docs/explanation/scaling.md."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.report import replaced
from bench.scale import prices
from bench.scale.model import WORKLOADS, Prediction, Site, predicted
from bench.scale.simulation import checks
from bench.scale_constants import Measured, load

PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "scaling.md"
RATES: Final = tuple(10**power for power in range(7))


def parts(measured: Measured) -> dict[str, list[str]]:
    """The tables, by the names of their markers in the page."""
    site = Site()
    return {
        "scale": ["```text", *_scale(measured, site), "```"],
        "costs": ["```text", *_costs(measured, site), "```"],
        "sources": ["```text", *_sources(), "```"],
        "simulation": ["```text", *_simulation(), "```"],
    }


def main() -> None:
    options = _options()
    if options.changes is not None:
        try:
            site = Site(folders=options.folders, refresh=options.refresh, capacity=options.capacity)
            print("\n".join(month(options.changes, site, load())))
        except ValueError as error:
            raise SystemExit(str(error)) from error
        return
    made = parts(load())
    print("\n\n".join("\n".join(lines[1:-1]) for lines in made.values()))
    if options.write:
        text = PAGE.read_text()
        for name, lines in made.items():
            text = replaced(text, name, "\n".join(lines))
        PAGE.write_text(text)


def _options() -> argparse.Namespace:
    usual = Site()
    parser = argparse.ArgumentParser(prog="python -m bench.scale_model", description=__doc__)
    parser.add_argument("--changes", type=float, help="changes a second: print what they need and cost in a month")
    parser.add_argument("--folders", type=int, default=usual.folders, help="busy folders (default: %(default)s)")
    parser.add_argument(
        "--refresh", type=float, default=usual.refresh, help="seconds of a refresh (default: %(default)s)"
    )
    parser.add_argument(
        "--capacity",
        type=float,
        default=usual.capacity,
        help="calls a second of Access Anywhere (default: %(default)s)",
    )
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    return parser.parse_args()


def month(changes: float, site: Site, measured: Measured) -> Iterator[str]:
    """The load as each workload, with the dollars of thirty days."""
    millions = changes * 30 * 86_400 / 1e6
    yield f"{'':14}{'replicas':>9}{'AA/s':>7}{'lag s':>7}{'$ a month':>11}{'CloudTrail':>12}{'Fargate':>9}  limits"
    for workload in WORKLOADS:
        each = predicted(changes, workload, site, measured)
        trail, tasks = (each.dollars[name] * millions for name in ("CloudTrail", "Fargate"))
        yield (
            f"{workload.name:14}{each.replicas:>9}{_short(each.calls):>7}{_short(each.lag):>7}"
            f"{each.price * millions:>11,.0f}{trail:>12,.0f}{tasks:>9,.0f}  {' '.join(each.limits)}"
        ).rstrip()


def _scale(measured: Measured, site: Site) -> Iterator[str]:
    names = ("msg/s", "AA/s", "SQS/s", "GET/s", "DDB/s", "lag s")
    yield f"{'changes/s':>9}{'repl.':>6}{''.join(f'{name:>6}' for name in names)}  beyond the quotas"
    for workload in WORKLOADS:
        yield workload.name
        yield from (_row(predicted(rate, workload, site, measured)) for rate in RATES)


def _row(each: Prediction) -> str:
    shown = (each.messages, each.calls, each.sqs, each.gets, each.reads + each.writes, each.lag)
    return f"{each.events:>9,.0f}{each.replicas:>6}{''.join(f'{_short(value):>6}' for value in shown)}  {' '.join(each.limits)}".rstrip()


def _costs(measured: Measured, site: Site) -> Iterator[str]:
    names = ("CloudTrail", "SNS", "SQS", "S3", "DynamoDB", "Fargate", "logs")
    yield f"{'$ a million':12}{''.join(f'{name:>10}' for name in names[:1])}{''.join(f'{name:>9}' for name in names[1:])}"
    for workload in WORKLOADS:
        found = predicted(1000, workload, site, measured).dollars
        yield f"{workload.name:12}{found['CloudTrail']:>10.2f}" + "".join(f"{found[name]:>9.3f}" for name in names[1:])


def _sources() -> Iterator[str]:
    sqs = (0.1 + 0.1) * prices.SQS_REQUEST * 1e6
    trail = 1e6 * prices.CLOUDTRAIL_DATA_EVENT
    yield f"{'to learn of a million writes of objects':46}{'dollars':>8}"
    yield f"{'S3 events to SQS':46}{sqs:>8.2f}"
    yield f"{'S3 events by SNS to SQS':46}{sqs + 1e6 * prices.SNS_PUBLISH:>8.2f}"
    yield f"{'S3 events by EventBridge to SQS, at most':46}{sqs + 1e6 * prices.EVENTBRIDGE_EVENT:>8.2f}"
    yield f"{'CloudTrail, writes only':46}{trail:>8.2f}"
    yield f"{'CloudTrail, with nine reads for each write':46}{10 * trail:>8.2f}"
    yield f"{'access logs (storage of the logs apart)':46}{0:>8.2f}"


def _simulation() -> Iterator[str]:
    yield f"{'replicas':>8}{'load':>6}{'arrivals':>10}{'simulated s':>13}{'model s':>9}{'off by':>8}"
    for each in checks():
        yield (
            f"{each.replicas:>8}{each.load:>6.1f}{each.arrivals:>10}{each.simulated:>13.4f}{each.model:>9.4f}"
            f"{each.model / each.simulated - 1:>8.0%}"
        )


def _short(value: float) -> str:
    """At most five characters."""
    if value >= 999_500:
        return f"{value / 1e6:.3g}M"
    if value >= 10_000:
        return f"{value / 1e3:.3g}k"
    if value >= 100 or not value:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.01 else "<0.01"


if __name__ == "__main__":
    main()
