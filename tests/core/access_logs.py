"""Helpers for the tests of access logs: read a log, and show a record in short form."""

from jibe_sqs.core.formats.access_log import AccessLog
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import ObjectEvent


def read(data, policy="reject", limits=None):
    """The records. With `reject`, raises the first bad one."""
    bad = BadRecords(policy)
    log = AccessLog(limits or Limits(), bad)
    records = log.feed(data) + log.finish()
    if policy == "reject" and bad.first:
        raise bad.first[0]
    return records


def summary(record):
    return (record.kind if isinstance(record, ObjectEvent) else record.reason), record.key
