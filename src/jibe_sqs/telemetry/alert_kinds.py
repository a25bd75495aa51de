"""Which log events are about a state that lasts, which event ends it, and which concern one process only.

Every warning and error of the log is an alert. Those in `STATES` have an end, and so a message that they are resolved. The
others say that something has happened, and have no end.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jibe_sqs.telemetry.printable import printable

RUNBOOKS: Final = "docs/reference/alerts.md"
"""The page with a runbook for each kind of alert, relative to the project's top folder."""
MAX_SUBJECT_LENGTH: Final = 200
"""Characters of a subject."""


class State(msgspec.Struct, frozen=True):
    """A state that does not last for ever. `event` begins it, or says that it still lasts; `ended_by` is the event of its end.

    `subject`: the fields of both events that say what the state is about. `is_own`: it concerns one process, not all replicas.
    """

    event: str
    ended_by: str
    meaning: str
    subject: tuple[str, ...] = ()
    is_own: bool = False


STATES: Final = (
    State("circuit_opened", "circuit_closed", "Access Anywhere is down, or refuses the login; nothing is received"),
    State(
        "buckets_unknown",
        "buckets_found",
        "Access Anywhere has not said yet which buckets it shows; nothing is received",
    ),
    State("queue_unusable", "queue_usable", "the queue refuses us, or does not exist", ("queue",)),
    State("receive_failed", "queue_usable", "the queue cannot be received from", ("queue",)),
    State(
        "log_bucket_unreadable", "log_bucket_readable", "the log bucket cannot be read; its messages wait", ("bucket",)
    ),
    State("nothing_received", "received_again", "nothing came for longer than `expect`", ("what", "source")),
    State("paused", "resumed", "an operator has paused the refreshes, of all or of one provider", ("provider",)),
    State("ledger_unreadable", "ledger_readable", "the ledger cannot be read; more is refreshed", is_own=True),
    State("ledger_unwritable", "ledger_writable", "the ledger cannot be written; work may be done again", is_own=True),
    State(
        "settings_refused",
        "settings_reloaded",
        "the changed configuration is wrong or cannot be read; the settings from before stay",
        is_own=True,
    ),
    State("worker_ended", "worker_began", "a worker has ended; it is started again", ("worker",), is_own=True),
)
BY_EVENT: Final = {state.event: state for state in STATES}
ENDED_BY: Final = {end: tuple(each for each in STATES if each.ended_by == end) for end in {s.ended_by for s in STATES}}

OWN_EVENTS: Final = frozenset({"alerts_not_sent", "alerts_lost"})
"""Log events about alerts. They cause no alerts, which would never end."""
OF_ONE_PROCESS: Final = frozenset({
    *("service_failed", "stopped_at_once", "supervisor_gone", "drain_deadline_over", "log_lines_lost"),
    *("worker_message_unreadable", "worker_not_started", "workers_given_up", "workers_killed"),
    *(state.event for state in STATES if state.is_own),
})  # fmt: skip
"""Events that each process sends by itself, although other replicas may send the same kind."""


def ends_of(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The states that end with this event, each with its subject."""
    ended = () if "logger" in event else ENDED_BY.get(str(event.get("event")), ())
    return [(state.event, subject_of(state, event)) for state in ended]


def is_shared(event: Mapping[str, Any]) -> bool:
    """Whether one of the replicas sends this kind for all. A crash, or a line of a library, concerns its own process."""
    name = str(event.get("event"))
    return "logger" not in event and name not in OF_ONE_PROCESS and not name.endswith("_crashed")


def subject_of(state: State, event: Mapping[str, Any]) -> str:
    """What the state is about, such as the name of a queue. Empty if there is only one thing that it can be about."""
    found = (str(event[name]) for name in state.subject if event.get(name) not in (None, ""))
    return printable(" ".join(" ".join(found).split()))[:MAX_SUBJECT_LENGTH]


def runbook(name: str, base: str = RUNBOOKS) -> str:
    """The address of the runbook of an event. `base`: the address of the page."""
    return f"{base}#{name}"
