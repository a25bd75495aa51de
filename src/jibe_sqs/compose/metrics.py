"""What the metrics of a service are read from: each function reads some of its parts, when somebody asks."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jibe_sqs.adapters.access_anywhere import AccessAnywhere
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.ports import Gate
from jibe_sqs.sweeping import sweep_queue
from jibe_sqs.telemetry.costs import Avoidable
from jibe_sqs.telemetry.loop_delay import LoopDelay
from jibe_sqs.telemetry.samples import Samples
from jibe_sqs.telemetry.scrapes import Metrics
from jibe_sqs.telemetry.truth import Truth

GATES: Final = {"Circuit": "access-anywhere", "BucketMap": "bucket-map", "Pauses": "pause"}
"""The names of gates in the metrics, by their classes."""


def nothing_is_paused() -> Mapping[str, bool]:
    """A service without pauses."""
    return {}


def never() -> float | None:
    """Credentials that do not expire."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The parts of a running service. `client`: None in a dry run.

    `in_flight`: the budgets of bytes of downloads. `expiry`: when the AWS credentials expire. `paused`: whether each
    provider is paused by an operator, by its name; empty for all.
    """

    engine: Engine
    outputs: Outputs
    client: AccessAnywhere | None = None
    truth: Truth | None = None
    in_flight: Sequence[Budget] = ()
    expiry: Callable[[], float | None] = never
    paused: Callable[[], Mapping[str, bool]] = nothing_is_paused
    loop_delay: LoopDelay = field(default_factory=LoopDelay)
    wall_clock: Callable[[], float] = time.time

    def add_to(self, metrics: Metrics) -> None:
        """Let the metrics read this service."""
        metrics.add(
            self._messages,
            self._queues,
            self._stages,
            self._records,
            self._refreshes,
            self._activity,
            self._access_anywhere,
            self._gates,
            self._limits,
            self._ledger,
            self._truth,
        )

    def _messages(self, samples: Samples) -> None:
        counters = self.engine.counters
        samples.add("jibe_messages_received_total", counters.messages)
        samples.add("jibe_messages_redelivered_total", counters.redelivered)
        samples.add("jibe_messages_done_total", counters.done)
        samples.add("jibe_messages_retried_total", counters.retried)
        samples.add("jibe_messages_rejected_total", counters.rejected)
        for (queue, error), count in counters.dead_letters.items():
            samples.add("jibe_dead_letters_total", count, queue, error)
        samples.add_all("jibe_message_errors_total", counters.errors)
        samples.add_all("jibe_announcements_ignored_total", counters.nothing)

    def _queues(self, samples: Samples) -> None:
        now = self.wall_clock()
        for consumer in self.engine.consumers:
            activity, queue = consumer.activity, consumer.name
            samples.add("jibe_queue_up", not consumer.trouble, queue)
            samples.add("jibe_oldest_message_age_seconds", consumer.oldest_age(now) or 0.0, queue)
            if activity.last_message:
                samples.add("jibe_queue_last_message_timestamp_seconds", activity.last_message, queue)
            if activity.last_receive:
                samples.add("jibe_queue_last_receive_timestamp_seconds", activity.last_receive, queue)
            if queue == sweep_queue.NAME:
                continue
            samples.add("jibe_queue_retention_seconds", activity.retention, queue)
            if activity.depth is not None:
                samples.add("jibe_queue_messages", activity.depth.visible, queue, "visible")
                samples.add("jibe_queue_messages", activity.depth.hidden, queue, "hidden")
        for (what, source), is_silent in self.engine.silences.states.items():
            samples.add("jibe_silent", is_silent, what, source)

    def _stages(self, samples: Samples) -> None:
        stages = self.engine.counters.stages
        for stage in ("queued", "read", "refresh_wait", "refresh", "message"):
            samples.add_histogram("jibe_stage_seconds", getattr(stages, stage), stage)
        samples.add_histogram("jibe_event_loop_delay_seconds", self.loop_delay.delays)

    def _records(self, samples: Samples) -> None:
        counters, swept = self.engine.counters, self.engine.sweeper.counts
        samples.add("jibe_files_read_total", counters.files)
        samples.add("jibe_files_known_total", counters.files_known)
        samples.add("jibe_files_coarsened_total", counters.coarsened)
        samples.add("jibe_file_bytes_total", counters.bytes)
        samples.add("jibe_bad_records_total", counters.bad_records)
        for bucket, counts in counters.buckets.items():
            samples.add("jibe_records_total", counts.records, bucket)
            samples.add("jibe_events_total", counts.events, bucket)
            for reason, number in counts.skipped.items():
                samples.add("jibe_records_skipped_total", number, bucket, reason)
        samples.add_all("jibe_avoidable_events_total", {kind.value: 0 for kind in Avoidable} | self.engine.costs.totals)
        samples.add("jibe_sweeps_total", swept["sweeps"])
        samples.add("jibe_sweep_files_total", swept["seen"], "seen")
        samples.add("jibe_sweep_files_total", swept["offered"], "offered")
        samples.add("jibe_sweep_failures_total", swept["failures"])
        samples.add("jibe_log_buckets_unreadable", len(self.engine.outages.reasons), "down")
        samples.add("jibe_log_buckets_unreadable", len(self.engine.outages.refusals), "refused")

    def _refreshes(self, samples: Samples) -> None:
        refreshes = self.engine.refreshes
        samples.add("jibe_refresh_requests_total", refreshes.requests)
        for kind, name in {"folders": "folder", "trees": "tree", "for descendants": "descendant"}.items():
            samples.add("jibe_refreshes_total", refreshes.counts[kind], name)
        waiting, since = refreshes.waiting
        age = 0.0 if since is None else max(0.0, self.outputs.clock.monotonic() - since)
        samples.add("jibe_folders_waiting", waiting)
        samples.add("jibe_folders_waiting_age_seconds", age)

    def _activity(self, samples: Samples) -> None:
        for provider, counts in self.engine.activity.providers():
            samples.add_histogram("jibe_index_lag_seconds", counts.lag, provider)
            samples.add_all("jibe_refresh_failures_total", counts.failed)

    def _access_anywhere(self, samples: Samples) -> None:
        client = self.client
        if client is None:
            return
        for function, outcomes in client.tries.outcomes.items():
            samples.add_all("jibe_access_anywhere_calls_total", outcomes, function)
        for function, seconds in client.tries.seconds.items():
            samples.add_histogram("jibe_access_anywhere_call_seconds", seconds, function)
        samples.add("jibe_circuit_openings_total", client.circuit.openings)
        samples.add_all("jibe_logins_total", {"ok": 0, "refused": 0} | client.logins)
        if (age := client.token_age) is not None:
            samples.add("jibe_token_age_seconds", age)
        samples.add("jibe_refreshes_running", client.concurrency.running)
        samples.add("jibe_refreshes_queued", client.concurrency.waiting)
        samples.add("jibe_refreshes_limit", client.concurrency.limit)
        samples.add("jibe_refreshes_configured_limit", client.concurrency.most)

    def _gates(self, samples: Samples) -> None:
        for gate in self.outputs.gates:
            samples.add("jibe_gate_closed", bool(gate.reason), _gate_name(gate))
        for provider, is_paused in {"": False, **self.paused()}.items():
            samples.add("jibe_paused", is_paused, provider)

    def _limits(self, samples: Samples) -> None:
        room = self.engine.room
        _add_budget(samples, "jibe_messages_reading", "jibe_messages_reading_limit", [room.reading])
        _add_budget(samples, "jibe_messages_held", "jibe_messages_held_limit", [room.held])
        _add_budget(samples, "jibe_held_bytes", "jibe_held_limit_bytes", [room.held_bytes])
        _add_budget(samples, "jibe_in_flight_bytes", "jibe_in_flight_limit_bytes", self.in_flight)

    def _ledger(self, samples: Samples) -> None:
        samples.add_all("jibe_ledger_failures_total", self.engine.ledger.failures)
        samples.add_all("jibe_ledger_failing", self.engine.ledger.failing)
        if (expiry := self.expiry()) is not None:
            samples.add("jibe_aws_credentials_expiry_timestamp_seconds", expiry)

    def _truth(self, samples: Samples) -> None:
        truth = self.truth
        if truth is None or (truth.current is None and truth.last is None):
            return
        if truth.true_ratio is not None:
            samples.add("jibe_index_true_ratio", truth.true_ratio)
        samples.add("jibe_compare_objects_total", truth.totals.get("objects", 0))
        samples.add("jibe_compare_differences_total", truth.totals.get("wrong", 0))
        samples.add("jibe_compare_repaired_total", truth.repaired)
        samples.add("jibe_compare_unrepaired", max(each.unrepaired for each in (truth.current, truth.last) if each))
        if truth.last is not None:
            samples.add("jibe_compare_round_timestamp_seconds", truth.last.ended)


def _add_budget(samples: Samples, used: str, limit: str, budgets: Iterable[Budget]) -> None:
    for budget in budgets:
        samples.add(used, budget.size - budget.free)
        samples.add(limit, budget.size)


def _gate_name(gate: Gate) -> str:
    return GATES.get(type(gate).__name__, type(gate).__name__)
