"""The announcements in message bodies of every known shape."""

from urllib.parse import quote_plus

import pytest
from tests.core.bodies import CASES, DAY, KEY, LOGS, ROOT, delivery, event, file, record, s3, sns

from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, announcements
from jibe_sqs.core.errors import AnnouncementTooLarge
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.model import LogFile, Nothing, Unreadable
from jibe_sqs.core.sources import LogSource, Sources


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES.keys())
def test_a_body_gives_its_announcements(body, expected):
    assert announcements(body) == announcements(body.encode()) == expected


def test_with_configured_log_sources_the_names_of_keys_do_not_matter():
    body = s3(record("odd-name.gz", s3__bucket__name=LOGS), record(KEY))
    assert announcements(body, Sources([LogSource(LOGS)])) == [file("odd-name.gz"), event(KEY)]


def test_other_files_of_a_configured_source_are_not_read():
    digest = f"{ROOT}/CloudTrail-Digest/eu-west-1/x.json.gz"
    body = s3(record(digest, s3__bucket__name=LOGS))
    assert announcements(body, Sources([LogSource(LOGS)])) == [Nothing("CloudTrail digest", LOGS, digest)]


OTHERS = {
    "AWS Config": f"{ROOT}/Config/eu-west-1/2026/1/31/ConfigHistory/x.json.gz",
    "AWS Config's test file": f"{ROOT}/Config/ConfigWritabilityCheckFile",
    "a load balancer": f"{ROOT}/elasticloadbalancing/eu-west-1/2026/01/31/x.log.gz",
    "a load balancer's test file": f"{ROOT}/ELBAccessLogTestFile",
    "VPC flow logs": f"p/{ROOT}/vpcflowlogs/eu-west-1/2026/01/31/x.log.gz",
    "VPC flow logs in Hive's layout": "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/x.log.gz",
    "Route 53 Resolver": f"{ROOT}/vpcdnsquerylogs/vpc-1/2026/01/31/x.log.gz",
    "WAF": f"{ROOT}/WAFLogs/cloudfront/acl/2026/01/31/12/00/x.log.gz",
    "GuardDuty": f"{ROOT}/GuardDuty/eu-west-1/2026/01/31/x.jsonl.gz",
    "CloudFront": "cdn/E2EXAMPLE1234.2026-01-31-12.a1b2c3d4.gz",
    "a folder's marker": f"{DAY}/",
    "another folder's marker": "holiday/",
}


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize(
    "sources",
    [Sources(), Sources([LogSource(LOGS)]), Sources([LogSource("*")])],
    ids=["no log bucket", "one log bucket", "any log bucket"],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_other_files_in_a_shared_log_bucket_give_nothing_to_do(key, sources, depth):
    body = delivery(KEY, key)
    assert [type(each) for each in announcements(sns(body) if depth else body, sources)] == [LogFile, Nothing]


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS.keys())
def test_s3_events_of_other_files_in_a_shared_log_bucket_give_nothing_to_do(key):
    (found,) = announcements(s3(record(quote_plus(key), s3__bucket__name=LOGS)), Sources([LogSource(LOGS)]))
    assert isinstance(found, Nothing)
    assert (found.bucket, found.key) == (LOGS, key)


@pytest.mark.parametrize("format_", [Format.AUDIT_LOG, Format.ACCESS_LOG])
def test_a_configured_format_allows_files_in_the_folders_of_other_services(format_):
    key = f"{ROOT}/minio/2026/01/31/audit.json"
    assert announcements(delivery(key, f"{ROOT}/"), Sources([LogSource(LOGS, "", format_)])) == [
        file(key),
        Nothing("a folder's marker", LOGS, f"{ROOT}/"),
    ]
    assert announcements(delivery(key), Sources([LogSource(LOGS, f"{ROOT}/minio/")])) == [file(key)]


@pytest.mark.parametrize("key", [KEY, "elsewhere/x.json.gz"])
@pytest.mark.parametrize(
    "sources",
    [Sources([LogSource(LOGS, "trail/")]), Sources([LogSource("*", "trail/")])],
    ids=["one log bucket", "any log bucket"],
)
def test_a_file_outside_the_configured_prefixes_gives_nothing_to_do(key, sources):
    assert announcements(delivery(key), sources) == [Nothing("a file outside the configured logs", LOGS, key)]


def test_a_delivery_from_a_bucket_that_is_not_configured_still_gives_its_files():
    """The handler refuses them, with a reason for the dead letter."""
    assert announcements(delivery(KEY), Sources([LogSource("other")])) == [file()]


@pytest.mark.parametrize(
    "made", [lambda n: delivery(*(f"{DAY}/{i}.json.gz" for i in range(n))), lambda n: s3(*[record()] * n)]
)
def test_a_body_may_have_thousands_of_announcements(made):
    assert len(announcements(made(2_500))) == 2_500


def test_the_largest_body_of_sqs_has_fewer_keys_than_the_limit():
    body = '{"s3Bucket":"b","s3ObjectKey":[' + ",".join(['"a"'] * (MAX_ANNOUNCEMENTS - 10)) + "]}"
    assert len(body) <= 2**20 < len(body) + 40
    assert announcements(body) == [LogFile("b", "a")]


@pytest.mark.parametrize("body", ['{"Records": [%s]}', '{"s3Bucket": "b", "s3ObjectKey": [%s]}'])
def test_a_body_with_more_items_than_the_limit_is_refused(body):
    with pytest.raises(AnnouncementTooLarge, match="262,145 items"):
        announcements(body % ",".join(["0"] * (MAX_ANNOUNCEMENTS + 1)))


@pytest.mark.parametrize("made", [delivery, lambda key: s3(record(key))])
def test_a_key_longer_than_the_limit_is_refused(made):
    """Without it, one key could make Access Anywhere search half a million folders, and each log line would have 1 MiB."""
    assert len(announcements(made("a/" * 50), key_length=100)) == 1
    for key in ("a/" * 51, "a/" * 500_000):
        *_, last = announcements(made(key), key_length=100)
        assert isinstance(last, Unreadable)
        assert isinstance(last.error, AnnouncementTooLarge)
        assert f"has {len(key):,} characters; the limit is 100 (limits.key_length)" in str(last.error)


def test_a_bucket_longer_than_the_limit_is_refused():
    with pytest.raises(AnnouncementTooLarge, match=r"s3Bucket has 101 characters; the limit is 100"):
        announcements(delivery("a", bucket="b" * 101), key_length=100)
