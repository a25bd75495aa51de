"""The one wiring: from ports and policies to a service. The program, the simulation and the tests use it."""

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from jibe_sqs.consuming.bucket_outages import BucketOutages
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.consuming.handler import Handler
from jibe_sqs.consuming.held_refreshes import HeldRefreshes
from jibe_sqs.consuming.reading import Reading
from jibe_sqs.consuming.room import Room
from jibe_sqs.consuming.service import Service, Work
from jibe_sqs.consuming.waiting_room import WaitingRoom
from jibe_sqs.core.decisions import Decisions, OwnWrites, Places
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.principals import KeptPrincipals
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import (
    Clock,
    EventTarget,
    Gate,
    Ledger,
    LogStore,
    Queue,
    QueueFacts,
    RefreshOutcome,
    Signatures,
    SyncTarget,
    Verifier,
)
from jibe_sqs.sweeping import sweep_queue
from jibe_sqs.sweeping.catch_up import CatchUp
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sink, Sweep, Sweeper
from jibe_sqs.syncing.bucket_map import BucketMap
from jibe_sqs.syncing.changes import Changes
from jibe_sqs.syncing.imports import Imports
from jibe_sqs.syncing.outcomes import Outcomes
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.pauses import Pauses
from jibe_sqs.syncing.refreshes import MAX_STARTED, Refreshes
from jibe_sqs.syncing.tree_refreshes import TreeRefreshes
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.activity import Activity
from jibe_sqs.telemetry.audit import Audit
from jibe_sqs.telemetry.costs import EventCosts
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.principals import SeenPrincipals
from jibe_sqs.telemetry.queue_activity import QueueActivity
from jibe_sqs.telemetry.queue_watch import LastFiles, QueueWatch, RelayedWatch
from jibe_sqs.telemetry.silences import Expected, Silences
from jibe_sqs.telemetry.skip_warnings import SkipWarnings
from jibe_sqs.telemetry.traced_logs import TracedLogs
from jibe_sqs.telemetry.tracing import Tracer

Job = Callable[[Sweeper], Coroutine[Any, Any, None]]
"""Work that a service is built for. It gets the sweeper, and the service stops when it ends."""

Relay = Callable[[Mapping[str, str]], bool]
"""Takes what this process has seen of the queues, for another process that notes it. Returns False if it cannot."""

SWEEP_WAIT: Final = 20.0
"""Seconds of a receive from the sweep queue, as of a long poll from SQS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies:
    """How the service works. Times in seconds; the settings of the same meaning describe them."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    limits: Limits = field(default_factory=Limits)
    messages_reading: int = 16
    messages_held: int = 100
    bytes_held: int = 128 * 1024 * 1024
    plan_bytes: int = 16 * 1024 * 1024
    receivers: int = 2
    wait: float = 20.0
    read_timeout: float = 3600.0
    watermark_margin: float = 5.0
    min_refresh_interval: float = 0.0
    tree_refresh_interval: float = 30.0
    refreshes_started: int = MAX_STARTED
    event_calls: int = 8
    import_buckets: bool = True
    """Whether a bucket that appears is refreshed as a whole."""
    catch_up: bool = True
    """Whether changes are made up for whose messages the queue deleted before they were received."""
    drain_timeout: float = 100.0
    progress_interval: float = 0.0
    retain: float = 90 * 86_400.0
    ignore_buckets: Sequence[str] = ()
    principals: KeptPrincipals = "writers"
    workers: int = 1
    """The processes of this service, which share the queues."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What the service makes true, and what decides about it.

    `events` is given if each change is reported by itself; `costs` if the target learns them; `buckets` if it keeps
    `decisions` up to date. `gates`: no work is taken while one of them has a reason against it. `pauses`, which is one of the
    gates, is what an operator has paused.
    """

    clock: Clock
    ledger: Ledger
    target: SyncTarget
    decisions: Decisions
    events: EventTarget | None = None
    costs: Costs | None = None
    buckets: BucketMap | None = None
    gates: Sequence[Gate] = ()
    pauses: Pauses | None = None
    health: Health = field(default_factory=Health)
    tracer: Tracer | None = None
    """Makes spans of the work. None: there are none."""
    audit: Audit | None = None
    """Records what was done. None: nothing does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What the service reads: the queues, the log files that they announce, and the sources that are swept.

    `queues`: each with its settings, or None if it has not answered yet.
    `sink`: takes the files that sweeps find, and passes them on to the `sweep_queue`. By default, it is that queue.
    `verifiers`: of the sources whose files are checked against digests. `wall_clock` gives the date of sweeps.
    `gates`: more gates than those of the outputs. `background`: more work, by name. `counts`: more for the progress log.
    `relay`: if another process of this service does what only one may do: sweeps, catch-up, imports, notes, pruning.
    """

    queues: Sequence[tuple[Queue, QueueFacts | None]]
    logs: LogStore
    sources: Sources = field(default_factory=Sources)
    sweeps: Sequence[Sweep] = ()
    sweep_queue: SweepQueue = field(default_factory=SweepQueue)
    sink: Sink | None = None
    verifiers: Mapping[LogSource, Verifier] = field(default_factory=dict)
    signatures: Signatures | None = None
    log_sources: Sequence[Sweep] = ()
    """All sources, to find the log files of messages that a queue deleted before they were received."""
    expected: Mapping[str | LogSource, float] = field(default_factory=dict)
    """How often something comes, at least: seconds, by the name of a queue, or by a source."""
    wall_clock: Callable[[], float] = time.time
    gates: Sequence[Gate] = ()
    background: Mapping[str, Work] = field(default_factory=dict)
    counts: Mapping[str, Callable[[], Mapping[str, object]]] = field(default_factory=dict)
    relay: Relay | None = None


@dataclass(kw_only=True, slots=True)
class Parts:
    """The classes of the service. The simulation puts defective ones in their place, to show that it sees the defects."""

    handler: type[Handler] = Handler
    refreshes: type[Refreshes] = Refreshes
    consumer: type[Consumer] = Consumer
    sweeper: type[Sweeper] = Sweeper
    changes: type[Changes] = Changes
    imports: type[Imports] = Imports
    catch_up: type[CatchUp] = CatchUp


class Engine:
    """The parts of a service. It is built in two steps: a log store may need the refreshes, as Access Anywhere's does.

    `handler`, `reading`, `sweeper`, `consumers`, `queue_consumers` (without the one of the sweeps), `skip_warnings` and
    `costs` exist after `service`.
    """

    def __init__(self, outputs: Outputs, policies: Policies, parts: Parts | None = None) -> None:
        self.counters = Counters()
        self.ledger = OptionalLedger(outputs.ledger)
        self.activity = Activity(outputs.clock, lambda: outputs.decisions.places)
        self.room = Room(
            reading=policies.messages_reading,
            held=policies.messages_held,
            held_bytes=policies.bytes_held,
            plan_bytes=policies.plan_bytes,
        )
        # Half of the room, so that the messages of other buckets and providers go on.
        self._waiting_room = WaitingRoom(messages=policies.messages_held // 2, waiting_bytes=policies.bytes_held // 2)
        self.outages = BucketOutages(outputs.clock, self._waiting_room)
        self.pauses = outputs.pauses or Pauses(outputs.clock)
        self._outputs = outputs
        self._policies = policies
        self._parts = parts or Parts()
        self.outcomes = Outcomes()
        self.principals = SeenPrincipals(outputs.decisions.own_write_rule)
        self.refreshes = self._parts.refreshes(
            target=outputs.target,
            ledger=self.ledger,
            clock=outputs.clock,
            margin=policies.watermark_margin,
            min_interval=policies.min_refresh_interval,
            tree_interval=policies.tree_refresh_interval,
            max_started=policies.refreshes_started,
            costs=outputs.costs,
            pauses=self.pauses,
            observe=self._refreshed,
            tracer=outputs.tracer,
        )
        self.trees = TreeRefreshes(self.refreshes, outputs.gates, self.pauses)
        self.changes: Changes | None = None
        if outputs.events is not None:
            self.changes = self._parts.changes(target=outputs.events, most=policies.event_calls)

    def _refreshed(self, outcome: RefreshOutcome) -> None:
        self.activity.refreshed(outcome)
        self.counters.stages.refreshed(outcome)
        self.outcomes.observe(outcome)

    def change_rules(
        self,
        *,
        places: Places | None,
        own_writes: OwnWrites,
        ignore: KeyFilter | None,
        limits: Limits,
        read_timeout: float,
        fingerprint: str,
    ) -> None:
        """Decide by other rules from now on. `places`: None to ask Access Anywhere. `fingerprint`: of the new rules.

        Nothing runs in between: each record is decided under the old rules or under the new ones, and no file that has a
        record of the old ones finishes under the new ones.
        """
        self._outputs.decisions.change_rules(own_writes, ignore)
        if self._outputs.buckets is not None:
            self._outputs.buckets.configure(places)
        else:
            self._outputs.decisions.places = places
        self.reading.change_limits(limits, read_timeout)
        self.reading.rules_changed()
        self.ledger.change_rules(fingerprint)

    def change_room(self, *, messages_reading: int, messages_held: int, bytes_held: int, plan_bytes: int) -> None:
        """Change the room for messages in hand; see `Policies`."""
        self.room.resize(reading=messages_reading, held=messages_held, held_bytes=bytes_held, plan_bytes=plan_bytes)
        self._waiting_room.resize(messages=messages_held // 2, waiting_bytes=bytes_held // 2)

    def service(self, inputs: Inputs, job: Job | None = None) -> Service:
        """Build the service that reads the inputs. With a `job`, it sweeps only what the job asks for, and then ends."""
        outputs, policies = self._outputs, self._policies
        is_first = inputs.relay is None
        sweeps = inputs.sweeps if is_first else ()
        self.files = LastFiles(inputs.wall_clock)
        self.gates = (*outputs.gates, *inputs.gates)
        self.skip_warnings = SkipWarnings(
            outputs.clock, ignore_buckets=policies.ignore_buckets, log_buckets=inputs.sources.buckets
        )
        self.costs = EventCosts(inputs.sources.buckets, inputs.wall_clock, workers=policies.workers)
        self.handler = self._handler(inputs)
        self.sweeper = self._parts.sweeper(
            sweeps=sweeps,
            queue=inputs.sink or inputs.sweep_queue,
            ledger=self.ledger,
            clock=outputs.clock,
            gates=self.gates,
            unfinished=inputs.sweep_queue,
            wall_clock=inputs.wall_clock,
        )
        self.consumers = [
            self._consumer(
                queue,
                facts,
                wait=policies.wait,
                receivers=policies.receivers,
                activity=QueueActivity(queue.name, inputs.wall_clock),
            )
            for queue, facts in inputs.queues
        ]
        # The queue of the sweeps is added below: it is in memory, and always works.
        queues = [
            (queue, consumer.activity) for (queue, _), consumer in zip(inputs.queues, self.consumers, strict=True)
        ]
        self._observe(tuple(self.consumers))
        self.silences = self._silences(inputs)
        watch = partial(RelayedWatch, relay=inputs.relay) if inputs.relay else QueueWatch
        self.watch = watch(
            queues=queues, files=self.files, silences=self.silences, ledger=self.ledger, clock=outputs.clock
        )
        background: dict[str, Work] = dict(inputs.background)
        if outputs.pauses is not None:
            background["pauses"] = outputs.pauses.run
        if not job:
            background["queue watch"] = self.watch.run
        if inputs.queues and not job and is_first:
            background["catch-up"] = self._catch_up(inputs, [activity for _, activity in queues]).run
        self.queue_consumers = tuple(self.consumers)
        if sweeps or job or (inputs.queues and inputs.log_sources and is_first):
            self.consumers.append(self._consumer(inputs.sweep_queue, sweep_queue.FACTS, wait=SWEEP_WAIT, receivers=1))
        if sweeps and not job:
            background["sweeps"] = self.sweeper.run
        counts: dict[str, Callable[[], Mapping[str, object]]] = {
            **inputs.counts,
            "refreshes": lambda: self.refreshes.counts,
            "swept": lambda: self.sweeper.counts,
            "log_lines": lambda: {"lost": logs.lost().total},
        }
        if queues and not job:
            counts["queues"] = lambda: self.watch.counts
        if outputs.buckets is not None:
            background["buckets"] = outputs.buckets.run
        if outputs.buckets is not None and not job and is_first:
            imports = self._parts.imports(
                buckets=outputs.buckets,
                trees=self.trees,
                ledger=self.ledger,
                clock=outputs.clock,
                refresh=policies.import_buckets,
            )
            background["imports"] = imports.run
            counts["imports"] = lambda: imports.counts
        return Service(
            consumers=self.consumers,
            refreshes=self.refreshes,
            changes=self.changes,
            ledger=outputs.ledger,
            counters=self.counters,
            health=outputs.health,
            background=background,
            job=partial(job, self.sweeper) if job else None,
            at_stop=None if job else self.watch.remember,
            counts=counts,
            drain_timeout=policies.drain_timeout,
            progress_interval=policies.progress_interval,
            retain=policies.retain if is_first else None,
        )

    def _silences(self, inputs: Inputs) -> Silences:
        activities = {consumer.name: consumer.activity for consumer in self.consumers}
        expected = []
        for subject, seconds in inputs.expected.items() if inputs.relay is None else ():
            if isinstance(subject, LogSource):
                name = source_name(subject)
                expected.append(Expected("log file", name, seconds, partial(self.files.of, name)))
            else:
                expected.append(
                    Expected("message", subject, seconds, partial(getattr, activities[subject], "last_message"))
                )
        silences = Silences(expected, inputs.wall_clock)
        self._outputs.health.note(lambda: silences.sentences)
        return silences

    def _catch_up(self, inputs: Inputs, queues: Sequence[QueueActivity]) -> CatchUp:
        return self._parts.catch_up(
            queues=queues,
            sources=inputs.log_sources,
            sweeper=self.sweeper,
            sweep_queue=inputs.sweep_queue,
            trees=self.trees,
            places=lambda: self._outputs.decisions.places,
            remember=self.watch.remember,
            clock=self._outputs.clock,
            gates=self.gates,
            is_automatic=self._policies.catch_up,
            wall_clock=inputs.wall_clock,
        )

    def _observe(self, consumers: Sequence[Consumer]) -> None:
        """Ready means: no gate has a reason, a queue can be received from, and the log buckets can be read."""

        def unusable_queues() -> list[str]:
            return [consumer.trouble for consumer in consumers if consumer.trouble]

        def is_cut_off() -> bool:
            return bool(consumers) and len(unusable_queues()) == len(consumers)

        health = self._outputs.health
        health.require(lambda: [gate.reason for gate in self._outputs.gates])
        health.require(lambda: unusable_queues() if is_cut_off() else [])
        health.require(lambda: self.outages.reasons)
        health.note(lambda: [] if is_cut_off() else unusable_queues())
        health.note(lambda: self.pauses.sentences)

    def _handler(self, inputs: Inputs) -> Handler:
        tracer = self._outputs.tracer
        self.reading = Reading(
            sources=inputs.sources,
            logs=inputs.logs if tracer is None else TracedLogs(inputs.logs, tracer),
            limits=self._policies.limits,
            decisions=self._outputs.decisions,
            ledger=self.ledger,
            counters=self.counters,
            activity=self.activity,
            skip_warnings=self.skip_warnings,
            outages=self.outages,
            costs=self.costs,
            gate=self.pauses,
            by_object=self.changes is not None,
            principals=self._policies.principals,
            verifiers=inputs.verifiers,
            signatures=inputs.signatures,
            timeout=self._policies.read_timeout,
            came=lambda source: self.files.came(source_name(source)),
            tracer=tracer,
        )
        return self._parts.handler(
            reading=self.reading,
            refreshes=HeldRefreshes(self.refreshes, self.changes, self.pauses, self._waiting_room),
            ledger=self.ledger,
            counters=self.counters,
            activity=self.activity,
            skip_warnings=self.skip_warnings,
            principals=self.principals,
            buckets=self._outputs.buckets,
            audit=self._outputs.audit,
        )

    def _consumer(
        self,
        queue: Queue,
        facts: QueueFacts | None,
        *,
        wait: float,
        receivers: int,
        activity: QueueActivity | None = None,
    ) -> Consumer:
        return self._parts.consumer(
            queue=queue,
            facts=facts,
            handler=self.handler,
            policy=self._policies.retry,
            room=self.room,
            clock=self._outputs.clock,
            counters=self.counters,
            wait=wait,
            receivers=receivers,
            gates=self.gates,
            activity=activity,
            tracer=self._outputs.tracer,
            audit=self._outputs.audit,
        )


def source_name(source: LogSource) -> str:
    """A source of log files, in words for an operator."""
    return f"s3://{source.bucket}/{source.prefix}"
