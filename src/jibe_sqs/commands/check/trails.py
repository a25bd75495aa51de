"""Checks the trails that deliver to the log buckets: status, data events, topic, and events that are logged twice.

Only what the credentials may see is judged: the trail of another account is invisible, but its log files are not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Final

import msgspec

from jibe_sqs.commands.check.facts import Cloud, Refusal, Selector, TrailState
from jibe_sqs.commands.check.log_buckets import CheckedLogs, format_of_newest
from jibe_sqs.commands.check.problems import Code, Finding, Fine, Problem, note, warning
from jibe_sqs.commands.check.recent_files import RecentFiles
from jibe_sqs.commands.check.running import Findings, unless_refused
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.prices import CLOUDTRAIL_DATA_EVENT
from jibe_sqs.core.sources import EVERY_BUCKET

S3: Final = "AWS::S3::Object"
S3_EXPRESS: Final = "AWS::S3Express::Object"
EXPRESS_SUFFIX: Final = "--x-s3"
PRICE: Final = f"CloudTrail asks ${CLOUDTRAIL_DATA_EVENT * 100_000:.2f} for 100,000 events"
AT_ONCE: Final = 16
"""Buckets that are asked about at the same time. One after the other, thousands would take longer than a check may."""


class TrailsRead(msgspec.Struct, frozen=True):
    """The trails of some regions, and why the others could not be read."""

    trails: Sequence[TrailState]
    refusals: Sequence[Problem]


class Trails:
    """Reads all trails of the account once, for several checks."""

    def __init__(self, cloud: Cloud, regions: Callable[[], Awaitable[Collection[str]]]) -> None:
        """`regions`: those of queues and buckets. A trail of one region is only visible in it."""
        self._cloud = cloud
        self._regions = regions
        self._reading: asyncio.Task[TrailsRead] | None = None

    async def read(self) -> TrailsRead:
        """The trails. Raises nothing."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)

    async def topics(self, log_buckets: Collection[str]) -> Collection[str]:
        """The ARNs of the topics of all trails that deliver to these buckets."""
        return {each.topic for each in (await self.read()).trails if each.topic and each.bucket in log_buckets}

    async def _read(self) -> TrailsRead:
        regions = await self._regions()
        answers = await asyncio.gather(
            *(unless_refused(f"trails in {region}", self._cloud.trails(region)) for region in regions)
        )
        refusals = [each for each in answers if isinstance(each, Problem)]
        found = {trail.arn: trail for each in answers if not isinstance(each, Problem) for trail in each}
        detailed = await asyncio.gather(*(self._detailed(trail) for trail in found.values()))
        return TrailsRead(
            [trail for trail, _ in detailed], [*refusals, *(each for _, problems in detailed for each in problems)]
        )

    async def _detailed(self, trail: TrailState) -> tuple[TrailState, list[Problem]]:
        problems: list[Problem] = []
        for ask in (self._cloud.trail_status, self._cloud.trail_selectors):
            try:
                trail = await ask(trail)
            except Refusal as refusal:
                problems.append(refusal.as_problem(trail.name))
        return trail, problems


class CheckedTrails(msgspec.Struct, frozen=True):
    """The trails, the log sources that they should deliver to, and the buckets whose events they should log.

    `buckets`, `log_buckets`: data buckets and log buckets, with their regions.
    """

    trails: Trails
    logs: Sequence[CheckedLogs]
    recent: RecentFiles
    buckets: Mapping[str, str]
    log_buckets: Mapping[str, str]


async def check_trails(checked: CheckedTrails) -> Findings:
    """Each log bucket of CloudTrail has a trail that works, and logs what is needed and no more."""
    read = await checked.trails.read()
    for refusal in read.refusals:
        yield refusal
    delivering = [trail for trail in read.trails if _sources_of(trail, checked.logs)]
    if not read.refusals or read.trails:
        for finding in await _missing_trails(checked, delivering):
            yield finding
    for trail in delivering:
        for finding in [*_of_status(trail), *_of_events(trail, checked), *await _of_topic(trail, checked)]:
            yield finding
    for one, other in combinations(sorted((each for each in read.trails if each.is_logging), key=_name), 2):
        if both := [bucket for bucket, region in checked.buckets.items() if _log_both(one, other, bucket, region)]:
            what = f"it logs the same events as {other.name}: {_some(both)}"
            remedy = f"each event is read twice, and {PRICE}: remove these buckets from one of the trails"
            yield warning(Code.TRAIL_DUPLICATE, one.name, what, remedy)


async def check_logged_buckets(checked: CheckedTrails, cloud: Cloud) -> Findings:
    """The writes of each data bucket are logged by a trail, or the bucket announces them itself."""
    read = await checked.trails.read()
    if not read.trails or any(trail.selectors is None for trail in read.trails):
        # Other accounts' trails are invisible, and so may be what a trail logs: nothing can be said.
        return
    delivering = [trail for trail in read.trails if trail.is_logging is not False and _sources_of(trail, checked.logs)]
    has_other_formats = any(logs.source.format not in (None, Format.CLOUDTRAIL) for logs in checked.logs)
    slots = asyncio.Semaphore(AT_ONCE)

    async def is_silent(bucket: str, region: str) -> bool:
        if any(logs_writes(trail, bucket, region) for trail in delivering):
            return False
        async with slots:
            announced = await unless_refused(bucket, cloud.notifications(bucket, region))
        return not (isinstance(announced, Problem) or announced.events or announced.has_eventbridge)

    answers = await asyncio.gather(*(is_silent(bucket, region) for bucket, region in checked.buckets.items()))
    silent = [bucket for bucket, answer in zip(checked.buckets, answers, strict=True) if answer]
    for bucket in silent:
        what = "no trail that delivers to the log buckets logs its writes, and it announces none itself"
        remedy = "add its ARN to the trail's data events, or set S3 event notifications"
        report = note if has_other_formats else Problem
        yield report(Code.BUCKET_NOT_LOGGED, bucket, what, remedy)
    if checked.buckets and not silent:
        yield Fine(f"{len(checked.buckets):,} buckets", "their writes are logged or announced")


async def _missing_trails(checked: CheckedTrails, delivering: Sequence[TrailState]) -> list[Finding]:
    found: list[Finding] = []
    for logs in checked.logs:
        source = logs.source
        if source.bucket == EVERY_BUCKET or source.format not in (None, Format.CLOUDTRAIL):
            continue
        if any(logs in _sources_of(trail, checked.logs) for trail in delivering):
            continue
        format_ = await format_of_newest(logs, checked.recent)
        if format_ not in ("", Format.CLOUDTRAIL.value):
            continue
        what = "no trail that we can see delivers to it"
        remedy = "create a trail with this bucket; or set logs.format if its files are not CloudTrail's"
        # A recent file shows that a trail of another account delivers.
        report = note if format_ else warning
        found.append(report(Code.TRAIL_MISSING, logs.name, what, remedy))
    return found


def _sources_of(trail: TrailState, logs: Sequence[CheckedLogs]) -> list[CheckedLogs]:
    return [
        each
        for each in logs
        if each.source.bucket == trail.bucket
        and each.source.format in (None, Format.CLOUDTRAIL)
        and (trail.keys.startswith(each.source.prefix) or each.source.prefix.startswith(trail.keys))
    ]


def _of_status(trail: TrailState) -> list[Finding]:
    found: list[Finding] = []
    if trail.is_logging is False:
        remedy = f"aws cloudtrail start-logging --region {trail.home} --name {trail.arn}"
        found.append(Problem(Code.TRAIL_NOT_LOGGING, trail.name, "it does not log: no change is heard", remedy))
    if trail.delivery_error:
        what = f"CloudTrail cannot deliver to {trail.bucket}: {trail.delivery_error}"
        remedy = "allow cloudtrail.amazonaws.com to write, in the policy of the bucket and of its KMS key"
        found.append(Problem(Code.TRAIL_DELIVERY_FAILED, trail.name, what, remedy))
    if trail.notification_error:
        what = f"CloudTrail cannot announce on its topic: {trail.notification_error}"
        remedy = "allow sns:Publish to cloudtrail.amazonaws.com in the policy of the topic"
        found.append(Problem(Code.TRAIL_NOTIFICATION_FAILED, trail.name, what, remedy))
    if not found:
        last = trail.latest_delivery
        when = f", last delivery {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%MZ}" if last else ""
        found.append(Fine(trail.name, f"logs to {trail.bucket}{when}"))
    return found


def _of_events(trail: TrailState, checked: CheckedTrails) -> list[Finding]:
    found: list[Finding] = []
    if trail.selectors is None:
        return found
    of_s3 = [each for each in trail.selectors if each.resource == S3]
    if not any(each.writes for each in of_s3):
        what, remedy = "it logs no data events of S3, so it sees no object", f"add write-only data events of {S3}"
        found.append(Problem(Code.TRAIL_WITHOUT_S3_EVENTS, trail.name, what, remedy))
    if not any(each.writes for each in trail.selectors if each.resource == S3_EXPRESS):
        directories = [bucket for bucket in checked.buckets if bucket.endswith(EXPRESS_SUFFIX)]
        what = f"it logs no data events of directory buckets{f': {_some(directories)}' if directories else ''}"
        report = Problem if directories else note
        remedy = f"add write-only data events of {S3_EXPRESS}"
        found.append(report(Code.TRAIL_WITHOUT_S3_EXPRESS, trail.name, what, remedy))
    if any(each.reads for each in trail.selectors if each.resource in (S3, S3_EXPRESS)):
        what = f"it logs reads, too: they change nothing, and {PRICE}"
        remedy = "set readOnly to false, or ReadWriteType to WriteOnly, in its data events"
        found.append(warning(Code.TRAIL_LOGS_READS, trail.name, what, remedy))
    for bucket, region in checked.log_buckets.items():
        if logs_writes(trail, bucket, region):
            what = (
                f"it logs the writes of the log bucket {bucket}: each log file makes a new event, for ever, and {PRICE}"
            )
            remedy = f"exclude arn:aws:s3:::{bucket}/ from its data events (resources.ARN, NotStartsWith)"
            found.append(warning(Code.TRAIL_LOGS_LOG_BUCKET, trail.name, what, remedy))
    return found


async def _of_topic(trail: TrailState, checked: CheckedTrails) -> list[Finding]:
    sources = _sources_of(trail, checked.logs)
    if trail.topic or all(logs.is_swept for logs in sources):
        return []
    for logs in sources:
        if logs.cloud is None:
            continue
        announced = await unless_refused(logs.name, _announcements(logs.cloud, trail.bucket))
        if announced is True:
            return []
        if isinstance(announced, Problem):
            return [announced]
    what = f"it has no topic, and {trail.bucket} announces nothing: new log files are never heard of"
    remedy = "set SnsTopicName of the trail, or S3 event notifications of the bucket, or logs.sweep"
    return [Problem(Code.TRAIL_WITHOUT_TOPIC, trail.name, what, remedy)]


async def _announcements(cloud: Cloud, bucket: str) -> bool:
    announced = await cloud.notifications(bucket, await cloud.bucket_region(bucket))
    return bool(announced.events) or announced.has_eventbridge


def logs_writes(trail: TrailState, bucket: str, region: str) -> bool:
    """Whether the trail logs writes of the bucket, or of a part of it."""
    resource = S3_EXPRESS if bucket.endswith(EXPRESS_SUFFIX) else S3
    is_in_region = trail.is_multi_region or trail.home == region
    return is_in_region and any(
        each.writes and each.resource == resource and _covers(each, bucket) for each in trail.selectors or ()
    )


def _log_both(one: TrailState, other: TrailState, bucket: str, region: str) -> bool:
    return logs_writes(one, bucket, region) and logs_writes(other, bucket, region)


def _covers(selector: Selector, bucket: str) -> bool:
    """Whether the selector includes objects of the bucket, or of a part of it."""
    own = f"{bucket}/"
    starts, not_starts = (list(map(_in_bucket, arns)) for arns in (selector.starts, selector.not_starts))
    if starts and not any(own.startswith(start) or start.startswith(own) for start in starts):
        return False
    return not any(start and own.startswith(start) for start in not_starts)


def _in_bucket(arn: str) -> str:
    """The beginning `BUCKET/KEY` of an ARN, or of the beginning of one. Empty if it names no bucket.

    ARNs: `arn:aws:s3:::BUCKET/KEY`, and `arn:aws:s3express:REGION:ACCOUNT:bucket/BUCKET/KEY` of directory buckets.
    """
    return ":".join(arn.split(":")[5:]).removeprefix("bucket/")


def _name(trail: TrailState) -> str:
    return trail.name


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
