"""The bad records of one log file. The operator configures for each source whether they reject the message."""

from typing import Final, Literal

from jibe_sqs.core.errors import RecordMalformed

OnBadRecord = Literal["skip", "reject"]

MAX_SHOWN: Final = 5
"""Bad records of one file that are kept for the log and the dead letter. The others are only counted."""
MAX_REASON_LENGTH: Final = 110
"""Characters of the reason of one bad record. The positions of all kept records must fit into a dead letter's reason."""


class BadRecords:
    """Counts the bad records of a file and keeps the first few. The other records of the file are processed in any case."""

    def __init__(self, policy: OnBadRecord) -> None:
        self.policy = policy
        self.count = 0
        self.first: list[RecordMalformed] = []

    @property
    def keeps_next(self) -> bool:
        """Whether the next bad record will be kept. If it is only counted, its position is not needed."""
        return len(self.first) < MAX_SHOWN

    def found(self, error: RecordMalformed) -> None:
        """Count one bad record."""
        self.count += 1
        if self.keeps_next:
            # A copy, because the traceback of the error keeps the text of the file in memory.
            self.first.append(RecordMalformed(str(error), index=error.index, offset=error.offset, field=error.field))

    @property
    def rejection(self) -> RecordMalformed | None:
        """The error that rejects the message, after the other records are done. None if the message is not rejected."""
        if self.policy == "skip" or not self.first:
            return None
        first, count = self.first[0], self.count
        parts = [_located(error) for error in self.first] + (
            [f"and {count - MAX_SHOWN} more"] if count > MAX_SHOWN else []
        )
        text = f"{count} bad record{'s' if count > 1 else ''}, all others are done: {'; '.join(parts)}"
        return RecordMalformed(text, index=first.index, offset=first.offset, field=first.field)


def _located(error: RecordMalformed) -> str:
    text = str(error)
    text = text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 1]}…"
    where = [f"offset {error.offset}"] * (error.offset is not None) + [f"field {error.field}"] * bool(error.field)
    return f"{text} ({', '.join(where)})" if where else text
