"""What AWS asks for requests and events: list prices of us-east-1, in dollars.

Source: https://aws.amazon.com/sqs/pricing/, https://aws.amazon.com/s3/pricing/ and https://aws.amazon.com/cloudtrail/pricing/, as
of 2025. SQS: the first 100 billion requests a month, without the free million; a request with up to 64 KB is one. S3: requests
of S3 Standard. CloudTrail: data events, for each trail that delivers them. SNS delivers to SQS free of charge. Traffic inside a
region is free. Other regions and storage classes differ.
"""

from typing import Final

SQS_REQUEST: Final = 0.40 / 1_000_000
S3_GET: Final = 0.40 / 1_000_000
S3_LIST: Final = 5.0 / 1_000_000
CLOUDTRAIL_DATA_EVENT: Final = 0.10 / 100_000
