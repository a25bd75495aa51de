"""What becomes of records that are not what their format says: the operator chooses, by source."""

from typing import Final, Literal

from jibe_sqs.core.errors import RecordMalformed

OnBadRecord = Literal["skip", "reject"]

SHOWN: Final = 5
"""How many of a file are kept for the log; the others are counted."""


class BadRecords:
    """Counts a file's bad records and keeps the first few; with `reject`, the first one ends the reading."""

    def __init__(self, policy: OnBadRecord) -> None:
        self.count = 0
        self.first: list[RecordMalformed] = []
        self._rejects = policy == "reject"

    def found(self, error: RecordMalformed) -> None:
        """Take in one. Raises it, if the file is to be rejected for it."""
        if self._rejects:
            raise error
        self.count += 1
        if len(self.first) < SHOWN:
            # A copy: the error itself holds, by its traceback, the text that it was found in.
            self.first.append(RecordMalformed(str(error), index=error.index, offset=error.offset))
