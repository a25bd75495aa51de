"""Checks the data buckets: their lifecycle rules, and whether we may list them. CloudTrail does not log what S3 Lifecycle deletes.

Only S3's events (`s3:LifecycleExpiration:*`), EventBridge and server access logs show these deletions.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from jibe_sqs.commands.check.facts import Cloud, Expiry
from jibe_sqs.commands.check.problems import Code, Finding, Fine, Problem, note, warning
from jibe_sqs.commands.check.running import Findings, unless_refused
from jibe_sqs.commands.check.trails import EXPRESS_SUFFIX
from jibe_sqs.core.errors import LogAccessDenied, LogStoreError
from jibe_sqs.core.phrases import counted
from jibe_sqs.ports import Listing

EXPIRATION: Final = "s3:LifecycleExpiration:"
AT_ONCE: Final = 16
MOST_BUCKETS: Final = 500
"""Buckets that are checked. Each costs up to three requests."""


class CheckedBuckets(msgspec.Struct, frozen=True):
    """The data buckets with their regions. `log_buckets`: where server access logs are read."""

    cloud: Cloud
    listing: Listing
    buckets: Mapping[str, str]
    log_buckets: Collection[str] = ()


async def check_lifecycles(checked: CheckedBuckets) -> Findings:
    """Each bucket whose objects expire announces the expiry."""
    general = [bucket for bucket in checked.buckets if not bucket.endswith(EXPRESS_SUFFIX)]
    slots = asyncio.Semaphore(AT_ONCE)

    async def limited(bucket: str) -> Finding | None:
        async with slots:
            return await _of_bucket(checked, bucket)

    found = await asyncio.gather(*map(limited, general[:MOST_BUCKETS]))
    problems = [each for each in found if isinstance(each, Problem)]
    for each in problems:
        yield each
    if len(general) > len(problems):
        yield Fine(
            counted(min(len(general), MOST_BUCKETS) - len(problems), "bucket"),
            "no deletions by lifecycle rules are missed",
        )


async def check_listable(checked: CheckedBuckets) -> Findings:
    """We may list each bucket, so that it can be compared with the index."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def is_listable(bucket: str) -> bool:
        async with slots:
            try:
                await checked.listing.has(bucket, "")
            except LogAccessDenied:
                return False
            except LogStoreError:
                # Missing buckets and outages are reported by other checks.
                pass
            return True

    wanted = list(checked.buckets)[:MOST_BUCKETS]
    denied = [each for each, ok in zip(wanted, await asyncio.gather(*map(is_listable, wanted)), strict=True) if not ok]
    for bucket in denied:
        what, remedy = "we may not list it, so it cannot be compared", "allow s3:ListBucket on it, for jibe-sqs compare"
        yield note(Code.BUCKET_NOT_LISTABLE, bucket, what, remedy)
    if len(wanted) > len(denied):
        yield Fine(counted(len(wanted) - len(denied), "bucket"), "can be listed, for comparisons")


async def _of_bucket(checked: CheckedBuckets, bucket: str) -> Problem | None:
    region = checked.buckets[bucket]
    rules = await unless_refused(bucket, checked.cloud.expiries(bucket, region))
    if isinstance(rules, Problem) or not rules:
        return rules if isinstance(rules, Problem) else None
    announced = await unless_refused(bucket, checked.cloud.notifications(bucket, region))
    if isinstance(announced, Problem):
        return announced
    if announced.has_eventbridge or any(each.startswith(EXPIRATION) for each in announced.events):
        return None
    logged_in = await unless_refused(bucket, checked.cloud.access_log_bucket(bucket, region))
    if not isinstance(logged_in, Problem) and logged_in in checked.log_buckets:
        return None
    return warning(
        Code.LIFECYCLE_UNHEARD,
        bucket,
        f"objects expire ({_named(rules)}), and CloudTrail never logs that: the index keeps them",
        f"send S3 event notifications {EXPIRATION}* of the bucket to the queue or its topic, or use EventBridge",
    )


def _named(rules: Sequence[Expiry]) -> str:
    first = rules[0]
    text = f"rule {first.rule!r}, {first.prefix or 'every key'}"
    return f"{text}, and {len(rules) - 1} more" if len(rules) > 1 else text
