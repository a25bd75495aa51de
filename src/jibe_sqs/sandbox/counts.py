"""Counts of messages in queues, and sums of the consumers' reports."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jibe_sqs.sandbox.world import World


def waiting_messages(running: World) -> int:
    """Messages in the queues: visible, hidden or delayed."""
    return _sum(
        running,
        running.deployment.queues,
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )


def hidden_messages(running: World) -> int:
    """Messages that a consumer holds, or that are hidden until their visibility timeout ends."""
    return _sum(running, running.deployment.queues, "ApproximateNumberOfMessagesNotVisible")


def dead_letters(running: World) -> int:
    """Messages in the dead-letter queues."""
    return _sum(running, running.deployment.dead_letters, "ApproximateNumberOfMessages")


def summed_reports(logs: Iterable[Path]) -> dict[str, Any]:
    """The sum of the counts in the last reports in these logs. A killed consumer's last report may be old."""
    total: dict[str, Any] = {}
    for log in logs:
        for name, value in _last_report(log).items():
            if isinstance(value, dict):
                # The state of a queue, or a time, is not a count.
                counts = {each: count for each, count in value.items() if isinstance(count, int)}
                total[name] = dict(Counter(total.get(name, {})) + Counter(counts))
            elif isinstance(value, int):
                total[name] = total.get(name, 0) + value
    return total


def _sum(running: World, queues: Mapping[str, str], *attributes: str) -> int:
    total = 0
    for region, url in queues.items():
        sqs = running.deployment.client("sqs", region)
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))
        total += sum(int(answer["Attributes"][name]) for name in attributes)
    return total


def _last_report(log: Path) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for line in log.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line that was cut when the process was killed
        if isinstance(entry, dict) and entry.get("event") in ("progress", "stopped"):
            report = entry
    return report
