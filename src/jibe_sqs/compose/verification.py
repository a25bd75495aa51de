"""Builds what checks log files against CloudTrail's digests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.digests import DigestVerifier, PublicKeys, S3Digests, cloudtrail_keys
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.commands.verification import Scope, Verification
from jibe_sqs.compose.stores import account_of, clients, own_region, s3_logs
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.settings import LogSettings, Rules, Settings


def verifier(settings: Settings, each: LogSettings, aws: Aws) -> DigestVerifier:
    """The verifier of one source."""
    account = account_of(settings.aws, each)
    region = own_region(settings.aws, each)
    return DigestVerifier(
        digests=S3Digests(aws=aws, account=account, region=region, owner=each.bucket_owner),
        keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
    )


@asynccontextmanager
async def verification(settings: Rules, scope: Scope) -> AsyncIterator[Verification]:
    """The verification of a bucket's log files. Its digests are in the same bucket."""
    ours = [each for each in settings.logs if each.bucket == scope.bucket and scope.base.startswith(each.prefix)]
    wanted = ours[0] if ours else None
    account, region = account_of(settings.aws, wanted), own_region(settings.aws, wanted)
    async with clients(settings) as aws:
        yield Verification(
            digests=S3Digests(aws=aws, account=account, region=region, owner=wanted.bucket_owner if wanted else None),
            keys=PublicKeys(cloudtrail_keys(aws=aws, account=account)),
            logs=s3_logs(settings, Regions(aws, S3Clock()), aws, Budget(settings.limits.bytes_in_flight)),
            scope=scope,
            now=datetime.now(UTC),
        )
