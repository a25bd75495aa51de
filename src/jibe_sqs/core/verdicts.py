"""Outcomes in, a verdict out."""

from collections.abc import Sequence
from typing import Final

import msgspec

from jibe_sqs.core.errors import TRANSIENT, DigestMissing, JibeError
from jibe_sqs.core.model import Done, Reject, Retry, Verdict

LONGEST: Final = 900
"""Characters of a reason that are worth telling. Keys may be long, and an attribute of a dead letter may not."""


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


def verdict(
    errors: Sequence[JibeError], receive_count: int, policy: RetryPolicy, sources: Sequence[str] = ()
) -> Verdict:
    """What becomes of a message, of which these parts failed. `sources`: where each error was met, if that is known.

    As long as one failure may pass, the message is tried again: what is permanent is rejected once all else is done.
    """
    if not errors:
        return Done()
    decisive = next((i for i, error in enumerate(errors) if error.disposition is TRANSIENT), 0)
    error = errors[decisive]
    others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    reason = f"{_told(error)}{others}"
    spent = policy.max_receives is not None and receive_count >= policy.max_receives
    if error.disposition is TRANSIENT and not spent:
        # A digest comes within the hour, or so: asking every few seconds would only use up the receives.
        delay = policy.longest if isinstance(error, DigestMissing) else policy.delay(receive_count)
        return Retry(delay, reason)
    return Reject(
        type(error).__name__,
        reason,
        source=sources[decisive] if sources else "",
        first_error=_told(errors[0]) if decisive else "",
    )


def _told(error: JibeError) -> str:
    """Its beginning names the file, and its end says what is wrong: of one that is too long, the middle goes."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-297:]}"
