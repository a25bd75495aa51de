"""A status for a terminal: at most 80 columns."""

from jibe_sqs.core.phrases import about, counted
from jibe_sqs.telemetry.printable import wrapped
from jibe_sqs.telemetry.status import Status

MAX_ROWS = 5
"""Entries of each list that are shown. `--json` has more."""


def as_text(status: Status) -> str:
    """The first sentence, and what an operator looks at next."""
    lines = [*wrapped(status.sentence, indent="  "), ""]
    for each in [*status.reasons, *status.warnings]:
        lines += wrapped(f"! {each}", indent="  ")
    if status.settings_problem and status.settings_problem not in status.warnings:
        lines += wrapped(f"! {status.settings_problem}", indent="  ")
    for queue in status.queues:
        depth = "depth unknown" if queue.visible is None else counted(queue.visible, "message")
        last = f"last message {about(status.at - queue.last_message)} ago" if queue.last_message else "no message yet"
        oldest = f", the oldest waits for {about(queue.oldest)}" if queue.oldest is not None else ""
        lines += wrapped(f"queue {queue.name}: {depth}{oldest}; {last}", indent="  ")
    lines += wrapped(
        f"in hand: {counted(status.messages_held, 'message')}; {counted(status.folders_waiting, 'folder')} "
        f"{'waits' if status.folders_waiting == 1 else 'wait'} for a refresh",
        indent="  ",
    )
    if status.lag.p50 is not None and status.lag.p99 is not None:
        lines += wrapped(f"lag of the last 15 min: p50 {about(status.lag.p50)}, p99 {about(status.lag.p99)}")
    sections = {
        "folders that cannot be refreshed": [f"{each.path}: {each.error}" for each in status.failing],
        "dead letters": [f"{each.queue}: {each.error}: {each.reason}" for each in status.dead_letters],
        "buckets whose changes are not shown": [
            f"{each.bucket}: {counted(each.count, 'change')}" for each in status.unmapped
        ],
        "events that cost money and are of no use": [
            f"{each.what}: ${each.dollars:,.2f} a month" for each in status.costs
        ],
    }
    for title, rows in sections.items():
        if rows:
            lines += ["", f"{title}:"]
            for row in rows[:MAX_ROWS]:
                lines += wrapped(row, first_indent="  ", indent="    ")
            if len(rows) > MAX_ROWS:
                lines.append(f"  and {len(rows) - MAX_ROWS} more")
    return "\n".join(lines)
