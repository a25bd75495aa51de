"""The target for message bodies."""

from typing import Final

import orjson

from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, announcements
from jibe_sqs.core.errors import AnnouncementError
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.model import LogFile, Nothing, Unreadable
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources
from proof.fuzz.promises import check_record, promise

LOGS: Final = (
    LogSource("logs", "AWSLogs/", verify=True),
    LogSource("logs", "lyve/", Format.AUDIT_LOG),
    LogSource("audit"),
)
RULES: Final = (
    NotificationRule(
        when=Expression("events"),
        items=Expression("events[]"),
        bucket=Expression("bucketName"),
        key=Expression("join('/', [objectName])"),
        event=Expression("eventType"),
        time=Expression("eventTimestamp"),
    ),
    NotificationRule(when=Expression("length(@) > `1`"), bucket=Expression("*|[0]"), key=Expression("keys(@)[1]")),
)
SOURCES: Final = (
    Sources(),
    Sources(LOGS),
    Sources(LOGS, {"aws:s3": "raw", "eventbridge": "url", "ceph:s3": "url"}, RULES),
    Sources((LogSource("*"),), {"*": "url"}),
)


def announcement(data: bytes) -> None:
    """A body gives announcements or an `AnnouncementError`, and the same in an SNS envelope."""
    body = data.decode("utf-8", "surrogateescape")
    for sources in SOURCES:
        found = _announced(body, sources)
        if isinstance(found, list):
            # A record gives two announcements if its key has two readings, or if it is an event with an error.
            promise(len(found) <= 2 * MAX_ANNOUNCEMENTS, "more announcements than the limit")
        if body.isprintable() and "TopicArn" not in body:
            envelope = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:t", "Message": body}
            wrapped = _announced(orjson.dumps(envelope).decode(), sources)
            promise(_comparable(wrapped) == _comparable(found), f"in an envelope: {wrapped}; without: {found}")


def _comparable(found: list[object] | str) -> object:
    """The announcements in a form that can be compared: an error equals only itself."""
    if isinstance(found, str):
        return found
    return [(each.index, repr(each.error)) if isinstance(each, Unreadable) else each for each in found]


def _announced(body: str, sources: Sources) -> list[object] | str:
    try:
        found = announcements(body, sources)
    except AnnouncementError as error:
        str(error).encode()
        return type(error).__name__
    for each in found:
        if isinstance(each, LogFile):
            promise(bool(each.bucket and each.key), "a log file without bucket and key")
            orjson.dumps([each.bucket, each.key, each.version, each.etag])
            promise(each.size is None or type(each.size) is int, f"the size {each.size!r}")
        elif isinstance(each, Nothing):
            orjson.dumps([each.about, each.bucket, each.key])
        elif isinstance(each, Unreadable):
            str(each.error).encode()
            promise(0 <= each.index < MAX_ANNOUNCEMENTS, f"the index {each.index}")
        else:
            check_record(each)
    return list(found)
