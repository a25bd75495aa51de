"""The verdict on a message, from the errors of its parts."""

from collections.abc import Sequence
from typing import Final

import msgspec

from jibe_sqs.core.errors import TRANSIENT, DigestMissing, JibeError, LogBucketDown, RefreshPaused
from jibe_sqs.core.model import Done, Reject, Retry, Verdict

MAX_REASON: Final = 900
"""Characters of a reason. A key may be long, and the attribute of a dead letter that has the reason may not."""


OUTAGE_DELAY: Final = 900.0
MAX_OUTAGE_DELAY: Final = 11.5 * 3600
"""Seconds. A message that waits for a log bucket in its queue is hidden for so long, doubled with each receive, so that
ten receives last for two days. But it is not hidden for longer than the outage has lasted, or a quarter of an hour: a
message that was received often for other reasons would wait for hours after an outage of a second."""

PAUSE_DELAY: Final = 3600.0
"""Seconds. A message that waits in its queue for the end of a pause is hidden until then, but at most for so long, doubled with
each receive: an operator may end the pause earlier."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """The delay before the next try: `first` seconds, doubled with each receive, at most `longest`.

    `max_receives`: after this number the message is a dead letter. None leaves that to the queue's redrive policy.
    """

    first: float = 10.0
    longest: float = 900.0
    max_receives: int | None = None

    def is_last(self, receive_count: int) -> bool:
        """Whether the message becomes a dead letter instead of being received again."""
        return self.max_receives is not None and receive_count >= self.max_receives

    def delay(self, receive_count: int) -> float:
        """Seconds until the next try."""
        return float(min(self.longest, self.first * 2 ** min(receive_count - 1, 30)))


def verdict(
    errors: Sequence[JibeError],
    receive_count: int,
    policy: RetryPolicy,
    sources: Sequence[str] = (),
    *,
    more: int = 0,
) -> Verdict:
    """The verdict on a message with these errors. `sources`: where each error was found, if that is known.

    `more`: the number of further errors that were not kept. An error of the same class as each of them was.

    While one error is transient, the message is tried again. A permanent error decides only when all else is done.
    """
    if not errors:
        return Done()
    if outage := next((error for error in errors if isinstance(error, LogBucketDown)), None):
        # Never rejected: the message is not the cause, and all others of its bucket have the same problem.
        delay = min(OUTAGE_DELAY * 2 ** min(receive_count - 1, 30), max(OUTAGE_DELAY, outage.seconds))
        return Retry(min(MAX_OUTAGE_DELAY, delay), _reason(outage))
    if pause := next((error for error in errors if isinstance(error, RefreshPaused)), None):
        # Never rejected either.
        delay = max(policy.first, min(PAUSE_DELAY * 2 ** min(receive_count - 1, 30), pause.seconds))
        return Retry(min(MAX_OUTAGE_DELAY, delay), _reason(pause))
    decisive = next((i for i, error in enumerate(errors) if error.disposition is TRANSIENT), 0)
    error = errors[decisive]
    count = len(errors) + more
    others = f" (and {count - 1:,} more)" if count > 1 else ""
    reason = f"{_reason(error)}{others}"
    if error.disposition is TRANSIENT and not policy.is_last(receive_count):
        # A digest arrives within about an hour. Trying every few seconds would only use up the receives.
        delay = policy.longest if isinstance(error, DigestMissing) else policy.delay(receive_count)
        return Retry(delay, reason)
    return Reject(
        type(error).__name__,
        reason,
        source=sources[decisive] if sources else "",
        first_error=_reason(errors[0]) if decisive else "",
    )


def _reason(error: JibeError) -> str:
    """A long text is cut in its middle: its beginning names the file, and its end the mistake."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 300]} … {text[-297:]}"
