"""All cases of bad input."""

from typing import Final

from . import cloudtrail_files, compressed_files, deliveries, events, messages, other_files
from .cases import Case

CORPUS: Final[list[Case]] = [
    *messages.CASES,
    *deliveries.CASES,
    *events.CASES,
    *compressed_files.CASES,
    *cloudtrail_files.CASES,
    *other_files.CASES,
]
