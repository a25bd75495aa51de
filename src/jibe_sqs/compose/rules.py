"""Converts settings into the core's decisions, limits and sources."""

from jibe_sqs.core.decisions import Decisions, OwnWrites, Place, Places
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.settings import LogSettings, NotificationSettings, Rules


def decisions(rules: Rules) -> Decisions:
    """Decisions by the configured buckets and Access Anywhere's own writes."""
    return Decisions(places(rules), own_writes(rules), key_filter(rules.ignore_keys))


def places(rules: Rules) -> Places | None:
    """The configured places of buckets. None if Access Anywhere is asked for them."""
    if rules.buckets is None:
        return None
    return {
        bucket: tuple(Place(place.folder, place.prefix, ignore=key_filter(place.ignore)) for place in shown)
        for bucket, shown in rules.buckets.items()
    }


def own_writes(rules: Rules) -> OwnWrites:
    """How Access Anywhere's own writes are recognised."""
    own = rules.own_writes
    return OwnWrites(
        access_keys=frozenset(own.access_keys),
        principals=own.principals,
        session_issuers=own.session_issuers,
        source_addresses=own.source_addresses,
        user_agents=own.user_agents,
    )


def key_filter(patterns: tuple[str, ...]) -> KeyFilter | None:
    """A filter with these patterns. None without patterns, so that it costs nothing."""
    return KeyFilter(patterns) if patterns else None


def limits(rules: Rules) -> Limits:
    """The limits of log files."""
    wanted = rules.limits
    return Limits(
        compressed_size=wanted.compressed_size,
        decompressed_size=wanted.decompressed_size,
        ratio=wanted.ratio,
        record_size=wanted.record_size,
        records=wanted.records,
        key_length=wanted.key_length,
    )


def sources(rules: Rules) -> Sources:
    """The sources of log files, and the rules for notifications."""
    return Sources(
        [log_source(each) for each in rules.logs],
        rules.key_encodings,
        [notification_rule(each) for each in rules.notifications],
    )


def notification_rule(each: NotificationSettings) -> NotificationRule:
    """The rule that reads message bodies of one configured shape."""
    items, event, time = (Expression(text) if text else None for text in (each.items, each.event, each.time))
    return NotificationRule(
        when=Expression(each.when),
        bucket=Expression(each.bucket),
        key=Expression(each.key),
        items=items,
        event=event,
        time=time,
        key_encoding=each.key_encoding,
    )


def log_source(each: LogSettings) -> LogSource:
    """One source of log files."""
    return LogSource(
        each.bucket, each.prefix, each.format, each.on_bad_record, each.verify == "digest", key_filter(each.ignore)
    )
