"""What the key of an object shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.registry import format_of
from jibe_sqs.core.log_names import holds_no_logs, no_log

ACCOUNT = "AWSLogs/111122223333"
FILE = "111122223333_CloudTrail_eu-west-1_20260131T2355Z_aBcDeFgHiJkLmNoP.json.gz"
KEY = f"{ACCOUNT}/CloudTrail/eu-west-1/2026/01/31/{FILE}"

LOGS = {
    "as AWS names it": KEY,
    "under a prefix": f"a/b c/{KEY}",
    "of an organization": KEY.replace("AWSLogs/", "AWSLogs/o-exampleorgid/"),
    "of an organization, under a prefix": "p/" + KEY.replace("AWSLogs/", "AWSLogs/o-a1b2c3d4e5/"),
    "of GovCloud": KEY.replace("eu-west-1", "us-gov-west-1"),
    "decompressed": KEY.removesuffix(".gz"),
}

NO_LOGS = {
    "empty": "",
    "of another service": KEY.replace("/CloudTrail/", "/Config/"),
    "without an account": KEY.replace("111122223333/", "", 1),
    "of a short account": KEY.replace("111122223333/", "1111/", 1),
    "without a day": f"{ACCOUNT}/CloudTrail/eu-west-1/{FILE}",
    "a folder below the day": KEY.replace(FILE, f"sub/{FILE}"),
    "of a similar name": f"my{KEY}",
    "of another ending": KEY + ".tmp",
    "with a line end after it": KEY + "\n",
    "an ordinary object": "photos/2026/01/31/x.json.gz",
}

SIBLINGS = {
    f"{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/01/31/x_CloudTrail-Digest_x.json.gz": "CloudTrail digest",
    f"{ACCOUNT}/CloudTrail-Insight/eu-west-1/2026/01/31/x.json.gz": "CloudTrail Insights events",
    f"{ACCOUNT}/CloudTrail-NetworkActivity/eu-west-1/2026/01/31/x.json.gz": "CloudTrail network activity events",
    f"{ACCOUNT}/CloudTrail-Aggregated/eu-west-1/2026/01/31/x.json.gz": "CloudTrail aggregated events",
    f"pre/fix/{ACCOUNT}/CloudTrail-Digest/eu-west-1/x.json.gz": "CloudTrail digest",
    "AWSLogs/o-exampleorgid/111122223333/CloudTrail-Digest/eu-west-1/x.json.gz": "CloudTrail digest",
    f"{ACCOUNT}/CloudTrail-Digest/": "CloudTrail digest",
    f"{ACCOUNT}/CloudTrail/": "the marker of a trail's start",
    f"p/{ACCOUNT}/CloudTrail/": "the marker of a trail's start",
    f"{ACCOUNT}/CloudTrail/eu-west-1/": "the marker of a trail's start",
    "AWSLogs/o-exampleorgid/111122223333/CloudTrail/": "the marker of a trail's start",
    f"{ACCOUNT}/CloudTrail/eu-west-1/2026/": "a folder's marker",
    "photos/": "a folder's marker",
    f"{ACCOUNT}/Config/ConfigWritabilityCheckFile": "a test file of an AWS service",
    "exported/aws-logs-write-test": "a test file of an AWS service",
    f"alb/{ACCOUNT}/ELBAccessLogTestFile": "a test file of an AWS service",
    "cdn/E2EXAMPLE1234.2026-01-31-12.a1b2c3d4.gz": "CloudFront access log",
}


@pytest.mark.parametrize("key", LOGS.values(), ids=LOGS.keys())
def test_a_cloudtrail_log_is_recognised_by_its_key(key):
    assert format_of(key) is Format.CLOUDTRAIL
    assert no_log(key) is None


@pytest.mark.parametrize("key", NO_LOGS.values(), ids=NO_LOGS.keys())
def test_another_key_is_not_a_cloudtrail_log(key):
    assert format_of(key) is not Format.CLOUDTRAIL
    assert no_log(key) is None


@pytest.mark.parametrize(("key", "about"), SIBLINGS.items())
def test_a_file_beside_the_logs_is_described(key, about):
    assert no_log(key) == about
    assert format_of(key) is not Format.CLOUDTRAIL


@given(st.text())
def test_no_key_is_both_a_log_and_not_a_log(prefix):
    assert format_of(f"{prefix}/{KEY}") is Format.CLOUDTRAIL
    assert no_log(prefix) is None or format_of(prefix) is None


@pytest.mark.parametrize(
    "folder", ["CloudTrail-Digest/", "CloudTrail-Insight/eu-west-1/", "Config/", "elasticloadbalancing/x/"]
)
def test_folders_of_other_aws_services_hold_no_logs(folder):
    assert holds_no_logs(f"{ACCOUNT}/{folder}")
    assert holds_no_logs(f"p/AWSLogs/o-exampleorgid/111122223333/{folder}")
    assert holds_no_logs(f"p/AWSLogs/aws-account-id=111122223333/aws-service={folder}")


@given(st.integers(0, len(KEY)), st.sampled_from(sorted(LOGS.values())))
def test_no_parent_folder_of_a_log_file_is_a_folder_of_another_service(length, key):
    assert not holds_no_logs(key[:length].rpartition("/")[0] + "/")


@pytest.mark.parametrize(
    "folder", ["S3_SERVER_ACCESS_LOGS/photos/2026/01/31/", "S3AccessLogs/", "s3-access-logs/x/", "S3ServerAccessLogs/"]
)
@pytest.mark.parametrize("account", [ACCOUNT, "p/AWSLogs/o-exampleorgid/111122223333"])
def test_access_logs_from_cloudwatch_are_recognised_by_their_folder(account, folder):
    assert format_of(f"{account}/{folder}x.json.gz") is Format.ACCESS_LOG
    assert no_log(f"{account}/{folder}x.json.gz") is None
    assert not holds_no_logs(f"{account}/{folder}")


@pytest.mark.parametrize("folder", ["S3/", "s3/eu-west-1/", "S3_OTHER/"])
def test_a_folder_that_may_hold_access_logs_is_searched(folder):
    assert not holds_no_logs(f"{ACCOUNT}/{folder}")
    assert format_of(f"{ACCOUNT}/{folder}x.json.gz") is None
