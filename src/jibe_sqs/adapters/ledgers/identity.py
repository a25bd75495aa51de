"""Decides whether an announced log file is the one that was finished, and whether that still counts."""

from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Validity


def is_same(file: LogFile, version: str | None, etag: str) -> bool:
    """Compares version and etag, as far as both are known. The caller has compared bucket and key.

    `version` is None if the announcement did not name it. `etag` is empty if the store gave none. If the etags are equal,
    the file is the same even if only one side knows its version: a sweep does not know it, and a notification does.
    """
    if etag and file.etag not in (None, etag):
        return False
    if version is None:
        return file.version is None or not etag or file.etag == etag
    return file.version in (None, version)


def counts(validity: Validity, rules: str, written: float) -> bool:
    """Whether a file that was finished at this time, under these rules, counts as finished.

    `rules` is empty in the entries of earlier releases, which did not record it. They do not count.
    """
    return rules == validity.rules and written >= validity.since


def etag_of(file: LogFile, etag: str) -> str:
    """The etag to record: the store's, or the announced one if the store gave no etag."""
    return etag or file.etag or ""
