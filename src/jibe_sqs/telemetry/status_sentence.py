"""The first sentence of a status: is the index true, and how far behind is it."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from jibe_sqs.core.phrases import about, counted
from jibe_sqs.telemetry.status import MAX_ROWS, State, Status

BEHIND = 60.0
"""Seconds. While the oldest message that is not done is not older, the service is in sync: refreshes take some seconds."""
RECENT = 86_400.0
"""Seconds for which a dead letter is new."""
RATE_MINUTES = 5
"""Minutes of which the rate gives the time that a backlog will take."""
_WORKER: Final = re.compile(r"worker \d+: ")


def with_sentence(status: Status) -> Status:
    """The status with its sentence and its state, which all other fields decide."""
    state, sentence = _answer(status)
    return msgspec.structs.replace(status, state=state, sentence=sentence)


def _answer(status: Status) -> tuple[State, str]:
    if status.stage == "starting":
        return "starting", "Starting: connecting to the ledger, the queues and Access Anywhere"
    waiting = waiting_messages(status)
    wait = f"; {counted(waiting, 'message')} {'waits' if waiting == 1 else 'wait'}" if waiting else ""
    if status.stage == "stopping":
        held = counted(status.messages_held, "message")
        return "stopping", f"Stopping: {held} in hand {'is' if status.messages_held == 1 else 'are'} finished first"
    if whole := next((pause for pause in status.pauses if not pause.provider), None):
        reason = f": {whole.reason}" if whole.reason else ""
        return "paused", f"Paused for {about(whole.until - status.at)} more{reason}{wait}"
    if status.held_up:
        return "held-up", f"{status.held_up}{wait}"
    if status.reasons:
        more = f" (and {len(status.reasons) - 1} more)" if len(status.reasons) > 1 else ""
        return "trouble", f"Not all work is done: {_clause(status.reasons[0])}{more}{wait}"
    return _at_work(status, waiting)


def _at_work(status: Status, waiting: int) -> tuple[State, str]:
    oldest = max((queue.oldest or 0.0 for queue in status.queues), default=0.0)
    problems = _problems(status)
    tail = f"; {problems}" if problems else ""
    if oldest > BEHIND:
        left = _time_left(status, waiting)
        wait = f"{counted(waiting, 'message')} {'waits' if waiting == 1 else 'wait'}, the oldest for {about(oldest)}"
        return "catching-up", f"Catching up: {wait}{f'; about {about(left)} left' if left else ''}{tail}"
    lag = f"{about(status.lag.p50)} behind" if status.lag.p50 is not None else "no changes in the last 15 min"
    return ("trouble" if problems else "in-sync"), f"In sync; {lag}{tail}"


def _problems(status: Status) -> str:
    """What the index may lack although all work is done, in a few words."""
    found = []
    if status.failing:
        found.append(f"{_at_least(status.failing, 'folder')} cannot be refreshed")
    recent = sum(status.at - each.at < RECENT for each in status.dead_letters)
    if recent:
        found.append(counted(recent, "new dead letter"))
    if status.settings_problem:
        found.append("changed settings are not in force")
    if status.unmapped:
        found.append(f"changes of {_at_least(status.unmapped, 'bucket')} are not shown")
    if status.pauses:
        found.append(f"{counted(len(status.pauses), 'provider')} paused")
    if other := sum(not _is_named(each, status) for each in status.warnings):
        found.append(counted(other, "warning"))
    return ", ".join(found)


def _at_least(entries: Sequence[object], noun: str) -> str:
    """The number of entries. There may be more if the list is full."""
    return f"{MAX_ROWS} or more {noun}s" if len(entries) >= MAX_ROWS else counted(len(entries), noun)


def _is_named(warning: str, status: Status) -> bool:
    """Whether the sentence names its cause already."""
    if status.settings_problem and status.settings_problem in warning:
        return True
    return any(f"{pause.provider}: paused by an operator" in warning for pause in status.pauses)


def _time_left(status: Status, waiting: int) -> float | None:
    """Seconds that the waiting messages will take at the present rate. None if it is not known."""
    whole = status.minutes[:-1][-RATE_MINUTES:]
    done = sum(minute.messages for minute in whole)
    return waiting / done * 60 * len(whole) if done else None


def waiting_messages(status: Status) -> int:
    """Messages that are not done: in the queues, and in hand."""
    return sum(queue.visible or 0 for queue in status.queues) + status.messages_held


def _clause(sentence: str) -> str:
    """The beginning of a sentence that may go on for long after its colon. The number of a worker in front of it stays."""
    whole = _WORKER.match(sentence)
    start = whole.end() if whole else 0
    return sentence[:start] + sentence[start:].partition(": ")[0]
