"""List prices of us-east-1 in dollars, and quotas, for the scaling model. Read in November 2026.

"checked": found again in a public source then. "not checked": AWS's page as it was known; look before you rely on it.
"""

from typing import Final

from jibe_sqs.core.prices import CLOUDTRAIL_DATA_EVENT, S3_GET, SQS_REQUEST

SNS_PUBLISH: Final = 0.50 / 1_000_000
"""Not checked. https://aws.amazon.com/sns/pricing/; a delivery to SQS is free."""
EVENTBRIDGE_EVENT: Final = 1.00 / 1_000_000
"""Not checked; events of S3 are not free, because they must be switched on. https://aws.amazon.com/eventbridge/pricing/"""
READ_UNIT: Final = 0.125 / 1_000_000
WRITE_UNIT: Final = 0.625 / 1_000_000
"""Checked. https://aws.amazon.com/dynamodb/pricing/on-demand/"""
VCPU_HOUR: Final = 0.04048
GB_HOUR: Final = 0.004445
"""Checked: Fargate, Linux on x86. https://aws.amazon.com/fargate/pricing/"""
S3_PUT: Final = 5.0 / 1_000_000
"""Not checked. https://aws.amazon.com/s3/pricing/"""
LOG_GB: Final = 0.50
"""Not checked: CloudWatch Logs, ingestion of a GB. https://aws.amazon.com/cloudwatch/pricing/"""

SQS_IN_FLIGHT: Final = 120_000
"""Messages in flight of one standard queue. Its requests have no stated limit."""
SNS_PUBLISHES: Final = 30_000
"""A second, for an account in us-east-1: 9,000 in us-west-2 and eu-west-1, 1,500 in eight others, 300 elsewhere. It can be raised.

Checked. https://docs.aws.amazon.com/general/latest/gr/sns.html
"""
S3_GETS: Final = 5_500
"""A second, for a prefix. CloudTrail has one prefix for each account, region and day."""
TABLE_UNITS: Final = 40_000
"""Request units a second of a table on demand, for reads and for writes. Checked; it can be raised."""
PARTITION_WRITES: Final = 1_000
"""Write units a second of a partition, and so of one item. Checked; it cannot be raised."""

__all__ = ["CLOUDTRAIL_DATA_EVENT", "S3_GET", "SQS_REQUEST"]
