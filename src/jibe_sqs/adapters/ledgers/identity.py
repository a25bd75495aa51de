"""Whether the log file that somebody names is the one that was read."""

from jibe_sqs.core.model import LogFile


def is_same(file: LogFile, version: str | None, etag: str) -> bool:
    """By its version and etag, as far as both sides know them; bucket and key are the same.

    `version` is None where no announcement named it, `etag` empty where the store told none. Contents that are known to
    be equal are one version, named or not: a sweep names none, where a notification of the same file does.
    """
    if etag and file.etag not in (None, etag):
        return False
    if version is None:
        return file.version is None or not etag or file.etag == etag
    return file.version in (None, version)


def etag_of(file: LogFile, etag: str) -> str:
    """What to remember: where the store told no etag, the announced one stands for it."""
    return etag or file.etag or ""
