"""What the requests in the counts of the stub cost."""

from collections.abc import Mapping

from jibe_sqs.core.prices import S3_GET, SQS_REQUEST


def aws_requests(counts: Mapping[str, int]) -> int:
    """The requests to SQS and S3 in the counts of the stub."""
    return _sqs(counts) + _s3(counts)


def dollars(counts: Mapping[str, int]) -> float:
    """The price of the requests to SQS and S3."""
    return _sqs(counts) * SQS_REQUEST + _s3(counts) * S3_GET


def access_anywhere_calls(counts: Mapping[str, int]) -> int:
    """The calls of Access Anywhere in the counts of the stub."""
    return _sum(counts, "aa ")


def _sqs(counts: Mapping[str, int]) -> int:
    return _sum(counts, "sqs ")


def _s3(counts: Mapping[str, int]) -> int:
    return _sum(counts, "s3 ")


def _sum(counts: Mapping[str, int], service: str) -> int:
    """An operation has one word. The other counts say how its requests ended."""
    return sum(count for name, count in counts.items() if name.startswith(service) and name.count(" ") == 1)
