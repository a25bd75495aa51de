"""All metrics: the one table of what `/metrics` shows. docs/reference/metrics.md is generated from it.

Nothing here counts. The work counts in plain numbers (`counters`, `activity`, `stages`, ...), and a scrape reads them.
"""

from typing import Final, Literal

import msgspec

from jibe_sqs.telemetry.lag import BOUNDS, SHORT_BOUNDS

Kind = Literal["counter", "gauge", "histogram"]
Combine = Literal["sum", "max", "min", "worker"]
"""How the values of several workers become one. `worker`: each stays, with a label `worker`."""

LAG_BOUNDS: Final = (*BOUNDS[:32:2], *BOUNDS[32::4])
"""Upper limits of exported lags: 0.1 s, 0.2 s, ... 55 min, 1.8 h, 7 h, 29 h, 5 days. Each is one of `BOUNDS`."""
STAGE_BOUNDS: Final = (*SHORT_BOUNDS[:18], *SHORT_BOUNDS[19::2])
"""Upper limits of exported durations: 1 ms, 2 ms, ... 131 s, 9 min, 35 min, 2.3 h."""

MOST_BUCKETS: Final = 50
"""Buckets with series of their own: the first that come. All others share one, under the name `OTHER`."""
OTHER: Final = "other"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `answers`: the question. `remedy`: what an operator does about a bad value; empty if there is no bad one.

    `most`: label values with series of their own. Further ones share the series `other`.
    """

    name: str
    kind: Kind
    help: str
    answers: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    combine: Combine = "sum"
    bounds: tuple[float, ...] = ()
    remedy: str = ""
    most: int = 100


def _counter(
    name: str, help_: str, answers: str, *labels: str, unit: str = "", remedy: str = "", most: int = 100
) -> Metric:
    return Metric(
        name=name, kind="counter", help=help_, answers=answers, labels=labels, unit=unit, remedy=remedy, most=most
    )


def _gauge(
    name: str, help_: str, answers: str, *labels: str, unit: str = "", combine: Combine = "max", remedy: str = ""
) -> Metric:
    return Metric(
        name=name, kind="gauge", help=help_, answers=answers, labels=labels, unit=unit, combine=combine, remedy=remedy
    )


def _histogram(
    name: str, help_: str, answers: str, *labels: str, bounds: tuple[float, ...], remedy: str = "", most: int = 30
) -> Metric:
    return Metric(
        name=name,
        kind="histogram",
        help=help_,
        answers=answers,
        labels=labels,
        unit="seconds",
        bounds=bounds,
        remedy=remedy,
        most=most,
    )


_RUNBOOK: Final = "see the [runbooks](../how-to/runbooks.md)"

SECTIONS: Final[dict[str, tuple[Metric, ...]]] = {
    "Is the index in sync?": (
        _gauge(
            "jibe_ready",
            "1 if the service does its work, 0 if not",
            "Does it work?",
            combine="max",
            remedy="`/readyz` names the reasons",
        ),
        _histogram(
            "jibe_index_lag_seconds",
            "from the time of an event to the end of the refresh that it asked for",
            "How far behind is the index?",
            "provider",
            bounds=LAG_BOUNDS,
            remedy="compare with the stages: most of it is the log's own delivery, the queue, or Access Anywhere",
        ),
        _gauge(
            "jibe_oldest_message_age_seconds",
            "age of the oldest message that is not done, as far as this service knows",
            "Will the queue delete messages before they are done?",
            "queue",
            unit="seconds",
            remedy="it must stay far below `jibe_queue_retention_seconds`: " + _RUNBOOK,
        ),
        _gauge(
            "jibe_folders_waiting",
            "folders that wait for a refresh, or are being refreshed",
            "How much is left to refresh?",
            combine="sum",
        ),
        _gauge(
            "jibe_folders_waiting_age_seconds",
            "how long the folder that has waited longest has been waiting",
            "Is a folder stuck?",
            unit="seconds",
            remedy="`jibe-sqs why` names its last error",
        ),
        _gauge(
            "jibe_index_true_ratio",
            "share of the compared objects that Access Anywhere showed rightly, in the last comparison",
            "Is the index true?",
            combine="min",
            remedy="run `jibe-sqs compare`",
        ),
        _counter("jibe_compare_objects_total", "objects compared with S3", "How fast is the comparison?"),
        _counter(
            "jibe_compare_differences_total",
            "differences that the continuous comparison found",
            "What did events miss?",
            remedy="`jibe-sqs why` explains a single object",
        ),
        _counter("jibe_compare_repaired_total", "differences that a refresh repaired", "Are differences repaired?"),
        _gauge(
            "jibe_compare_unrepaired",
            "differences of the running round, or of the last one, that are not repaired",
            "Which differences need a person?",
            remedy="run `jibe-sqs compare`",
        ),
        _gauge(
            "jibe_compare_round_timestamp_seconds",
            "when the last whole comparison ended",
            "How old is the proof?",
            unit="seconds",
        ),
    ),
    "Queues and messages": (
        _gauge(
            "jibe_queue_messages",
            "messages in the queue, approximately; `state`: visible, or hidden because somebody has received them",
            "How much waits?",
            "queue",
            "state",
        ),
        _gauge(
            "jibe_queue_up",
            "1 if the queue can be received from, 0 if not",
            "Can the queue be used?",
            "queue",
            remedy="`/readyz` and the log event `receive_failed` name the reason",
        ),
        _gauge(
            "jibe_queue_last_message_timestamp_seconds",
            "when the last message came",
            "Is the queue silent?",
            "queue",
            unit="seconds",
            remedy="check what sends to it: `jibe-sqs check`",
        ),
        _gauge(
            "jibe_queue_last_receive_timestamp_seconds",
            "when the last receive succeeded",
            "Is it listening?",
            "queue",
            unit="seconds",
        ),
        _gauge(
            "jibe_queue_retention_seconds",
            "after how long the queue deletes messages",
            "How much time is left?",
            "queue",
            unit="seconds",
        ),
        _gauge(
            "jibe_silent",
            "1 if less came from this source than `expect` demands, 0 if not",
            "Did something stop sending?",
            "what",
            "source",
            remedy="check what sends to it: `jibe-sqs check`",
        ),
        _counter("jibe_messages_received_total", "messages received", "How much comes?"),
        _counter(
            "jibe_messages_redelivered_total",
            "messages received for the second time or later",
            "Is work repeated?",
            remedy="retries, or a visibility timeout that is too short",
        ),
        _counter(
            "jibe_messages_done_total", "messages deleted because everything in them is done", "Does it progress?"
        ),
        _counter(
            "jibe_messages_retried_total",
            "messages that were made visible again after an error",
            "How much must be tried again?",
            remedy="the log event `message_retried` names the reasons",
        ),
        _counter(
            "jibe_messages_rejected_total",
            "messages rejected: dead letters, where there is a queue for them",
            "Is there anything that cannot be processed?",
            remedy="`jibe-sqs dead-letters list`",
        ),
        _counter(
            "jibe_dead_letters_total",
            "rejected messages, by queue and error",
            "What cannot be processed?",
            "queue",
            "error",
            remedy="`jibe-sqs dead-letters list`",
        ),
        _counter(
            "jibe_message_errors_total",
            "errors of messages and of their log files",
            "What goes wrong?",
            "error",
            remedy="[errors](errors.md) has the remedy of each",
        ),
        _counter(
            "jibe_announcements_ignored_total",
            "announcements that ask for nothing, such as test events",
            "What else is in the queue?",
            "about",
            most=30,
        ),
    ),
    "Stages of the work": (
        _histogram(
            "jibe_stage_seconds",
            "duration of each stage. `queued`: from sent to the first receive; `read`: fetch and parse a log file; "
            "`refresh_wait`: from the first request to the beginning of a refresh; `refresh`: the refresh itself; "
            "`message`: from the receive to the deletion",
            "Where is the time spent?",
            "stage",
            bounds=STAGE_BOUNDS,
        ),
        _histogram(
            "jibe_event_loop_delay_seconds",
            "how late a timer of one second is",
            "Is the processor too slow?",
            bounds=STAGE_BOUNDS,
            remedy="more CPU, or more [workers](../how-to/workers.md)",
        ),
    ),
    "Log files and records": (
        _counter("jibe_files_read_total", "log files read to their end", "How many files come?"),
        _counter(
            "jibe_files_known_total",
            "log files that the ledger knew, so they were not fetched",
            "What does the ledger save?",
        ),
        _counter(
            "jibe_files_coarsened_total",
            "log files with so many folders that whole trees were refreshed",
            "Are plans too large?",
            remedy="raise `limits.plan_size`",
        ),
        _counter("jibe_file_bytes_total", "bytes of log files, as stored", "How much is read?", unit="bytes"),
        _counter("jibe_records_total", "records read", "Which bucket makes the load?", "bucket", most=MOST_BUCKETS + 1),
        _counter(
            "jibe_events_total",
            "records that asked for a refresh",
            "Which bucket changes?",
            "bucket",
            most=MOST_BUCKETS + 1,
        ),
        _counter(
            "jibe_records_skipped_total",
            "records that asked for no refresh, by reason",
            "Why is nothing refreshed? `already-refreshed` is what watermarks save",
            "bucket",
            "reason",
            remedy="`not-mapped` and `own-write` may be lost changes: `jibe-sqs explain`",
            most=10 * (MOST_BUCKETS + 1),
        ),
        _counter(
            "jibe_bad_records_total",
            "records that could not be read",
            "Is a source broken?",
            remedy="the log event `bad_records_skipped` names the file and the position",
        ),
        _counter(
            "jibe_avoidable_events_total",
            "events that are delivered and of no use: `reads`, `log-bucket` (a bucket that logs itself), `copies`",
            "What does AWS charge for nothing?",
            "kind",
            remedy="the status page shows dollars a month, and what avoids them",
        ),
        _counter("jibe_sweeps_total", "sweeps for unannounced log files", "Do sweeps run?"),
        _counter(
            "jibe_sweep_files_total",
            "log files in sweeps: all that were `seen`, and those that were `offered` because nobody had announced them",
            "Does the queue miss files?",
            "outcome",
        ),
        _counter("jibe_sweep_failures_total", "listings that failed in sweeps", "Can the log buckets be listed?"),
        _gauge(
            "jibe_log_buckets_unreadable",
            "log buckets that cannot be read: `down`, or they have only `refused` files so far",
            "Can the log files be read?",
            "cause",
            remedy="`/readyz` names the bucket and the reason",
        ),
    ),
    "Refreshes": (
        _counter(
            "jibe_refresh_requests_total",
            "requests for the refresh of a folder",
            "How much is saved by coalescing? (requests against refreshes)",
        ),
        _counter(
            "jibe_refreshes_total",
            "successful refreshes; `kind`: folder, tree, or descendant (one that a folder below it needed)",
            "How much work has Access Anywhere?",
            "kind",
        ),
        _counter(
            "jibe_refresh_failures_total",
            "failed refreshes, by error",
            "What goes wrong in Access Anywhere?",
            "error",
            remedy="[errors](errors.md) has the remedy of each",
        ),
        _gauge("jibe_refreshes_running", "refreshes in flight", "Is the limit reached?", combine="sum"),
        _gauge("jibe_refreshes_queued", "refreshes that wait for a slot", "Is the limit too low?", combine="sum"),
        _gauge(
            "jibe_refreshes_limit",
            "how many refreshes may be in flight now: less than the configured number if Access Anywhere is slow",
            "Does Access Anywhere keep up?",
            combine="sum",
        ),
        _gauge(
            "jibe_refreshes_configured_limit",
            "how many refreshes may be in flight at most (`access_anywhere.concurrency`)",
            "What is configured?",
            combine="sum",
        ),
    ),
    "Access Anywhere": (
        _counter(
            "jibe_access_anywhere_calls_total",
            "calls by function; `outcome`: ok, retried, refused (it answers with an error), failed (no usable answer)",
            "Which calls fail?",
            "function",
            "outcome",
            remedy="the log event `access_anywhere_retry` names the reason",
            most=120,
        ),
        _histogram(
            "jibe_access_anywhere_call_seconds",
            "duration of each try, by function",
            "Is Access Anywhere slow?",
            "function",
            bounds=STAGE_BOUNDS,
        ),
        _gauge(
            "jibe_gate_closed",
            "1 while no work is taken because of this gate: `access-anywhere` (down, or refuses the login), "
            "`bucket-map`, or `pause` (an operator has paused everything)",
            "What holds the work up?",
            "gate",
            remedy="`/readyz` names the reason",
        ),
        _counter("jibe_circuit_openings_total", "outages of Access Anywhere", "Is Access Anywhere stable?"),
        _counter(
            "jibe_logins_total",
            "logins to Access Anywhere; `outcome`: ok or refused",
            "Is the login right?",
            "outcome",
            remedy="check `access_anywhere.login` and `password`",
        ),
        _gauge(
            "jibe_token_age_seconds",
            "age of the token of Access Anywhere in use",
            "When was the last login?",
            unit="seconds",
        ),
        _gauge(
            "jibe_paused",
            "1 while an operator's pause is in force; an empty `provider` means all",
            "Is it paused?",
            "provider",
            remedy="`jibe-sqs resume`",
        ),
    ),
    "Limits": (
        _gauge("jibe_messages_reading", "messages whose log files are read", "Is reading at its limit?", combine="sum"),
        _gauge("jibe_messages_reading_limit", "`limits.messages_reading`", "What is configured?", combine="sum"),
        _gauge("jibe_messages_held", "messages in hand", "Is the room full?", combine="sum"),
        _gauge("jibe_messages_held_limit", "`limits.messages_held`", "What is configured?", combine="sum"),
        _gauge("jibe_held_bytes", "bytes of messages in hand", "Is the room full?", unit="bytes", combine="sum"),
        _gauge("jibe_held_limit_bytes", "`limits.bytes_held`", "What is configured?", unit="bytes", combine="sum"),
        _gauge(
            "jibe_in_flight_bytes",
            "bytes of downloads in flight",
            "Are downloads at their limit?",
            unit="bytes",
            combine="sum",
        ),
        _gauge(
            "jibe_in_flight_limit_bytes", "`limits.bytes_in_flight`", "What is configured?", unit="bytes", combine="sum"
        ),
    ),
    "Ledger and credentials": (
        _counter(
            "jibe_ledger_failures_total",
            "failed calls of the ledger; `access`: read or write",
            "Does the ledger work?",
            "access",
            remedy="without it, work is done twice; the log events `ledger_unreadable` and `ledger_unwritable` name the reason",
        ),
        _gauge("jibe_ledger_failing", "1 while the ledger fails", "Does the ledger work now?", "access"),
        _gauge(
            "jibe_aws_credentials_expiry_timestamp_seconds",
            "when the first of the AWS credentials in use expires; absent if they do not expire",
            "Are credentials renewed in time?",
            unit="seconds",
            combine="min",
            remedy="they are renewed a quarter of an hour before; if not, the log event `credentials_not_renewed` has the reason",
        ),
    ),
    "The process": (
        _counter("jibe_log_lines_total", "log lines, by level", "Are there more warnings than usual?", "level"),
        _counter(
            "jibe_log_lines_lost_total",
            "log lines that could not be written",
            "Is the log complete?",
            remedy="standard error is not read, or too slowly",
        ),
        _counter(
            "jibe_metrics_failures_total",
            "sources of metrics that failed in a scrape: a defect",
            "Is this page complete?",
        ),
        _gauge("jibe_workers", "workers that answered", "Do all workers run?", combine="sum"),
        _gauge("jibe_workers_configured", "workers that should run (`workers`)", "What is configured?"),
        _gauge(
            "jibe_settings_problem",
            "1 while the settings in force are not those of the configuration: it is refused, or needs a restart",
            "Does it run with the settings that you see?",
            remedy="`/readyz` has the reason in `warnings`",
        ),
        _gauge("jibe_build_info", "always 1", "Which version runs?", "version", "python"),
        _gauge(
            "process_start_time_seconds",
            "when the process started",
            "Does it restart?",
            unit="seconds",
            combine="worker",
        ),
        _gauge("process_resident_memory_bytes", "resident memory", "How much memory?", unit="bytes", combine="worker"),
        _gauge("process_virtual_memory_bytes", "virtual memory", "How much memory?", unit="bytes", combine="worker"),
        _gauge("process_open_fds", "open file descriptors", "Are descriptors leaking?", combine="worker"),
        _gauge("process_max_fds", "the limit of open file descriptors", "Are there enough?", combine="worker"),
        _counter("process_cpu_seconds_total", "user and system time", "How much CPU?", unit="seconds"),
    ),
}
"""The metrics by what they are about."""

METRICS: Final = {metric.name: metric for metrics in SECTIONS.values() for metric in metrics}
"""The metrics by name."""
