"""Outcomes in, a verdict out."""

from collections.abc import Sequence

import msgspec

from jibe_sqs.core.errors import TRANSIENT, DigestMissing, JibeError
from jibe_sqs.core.model import Done, Reject, Retry, Verdict


class RetryPolicy(msgspec.Struct, frozen=True):
    """How long a message waits: `first` seconds, doubled with each receive, at most `longest`.

    `max_receives`: after so many, it is a dead letter; None leaves that to the queue's redrive policy.
    """

    first: float = 10.0
    longest: float = 900.0
    max_receives: int | None = None

    def delay(self, receive_count: int) -> float:
        """Seconds until the next try."""
        return float(min(self.longest, self.first * 2 ** min(receive_count - 1, 30)))


def verdict(errors: Sequence[JibeError], receive_count: int, policy: RetryPolicy) -> Verdict:
    """What becomes of a message, of which these parts failed.

    As long as one failure may pass, the message is tried again: what is permanent is rejected once all else is done.
    """
    if not errors:
        return Done()
    first = next((error for error in errors if error.disposition is TRANSIENT), errors[0])
    reason = _reason(errors, first)
    spent = policy.max_receives is not None and receive_count >= policy.max_receives
    if first.disposition is TRANSIENT and not spent:
        # A digest comes within the hour, or so: asking every few seconds would only use up the receives.
        delay = policy.longest if isinstance(first, DigestMissing) else policy.delay(receive_count)
        return Retry(delay, reason)
    return Reject(type(first).__name__, reason)


def _reason(errors: Sequence[JibeError], first: JibeError) -> str:
    others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{type(first).__name__}: {first}{others}"
