"""Configured log sources: the source of a file, and which objects are log files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.model import LogFile, Nothing
from jibe_sqs.core.sources import EVERY_BUCKET, IGNORED_FILE, LogSource, Sources, beside_logs

CLOUDTRAIL = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz"
LYVE = "S3-data-2026-01-31-12-00-00.gz"
ACCESS = "logs/2026-01-31-12-00-00-0123456789ABCDEF"

TRAIL = LogSource("trail", "a/", verify=True)
AUDIT = LogSource("trail", "b/", Format.AUDIT_LOG, "reject")
OTHER = LogSource("other")
CONFIGURED = Sources([TRAIL, AUDIT, OTHER])


@pytest.mark.parametrize(
    ("bucket", "key", "source"),
    [
        ("trail", "a/x.json.gz", TRAIL),
        ("trail", "b/x.json.gz", AUDIT),
        ("trail", "b/", AUDIT),
        ("trail", "c/x.json.gz", None),
        ("trail", "", None),
        ("trail", CLOUDTRAIL, None),
        ("other", "anything", OTHER),
        ("other", "", OTHER),
        ("evil", "a/x.json.gz", None),
        ("trai", "l/a/x", None),
        ("", "a/", None),
    ],
)
def test_the_source_of_a_file_has_its_bucket_and_prefix(bucket, key, source):
    assert CONFIGURED.of(bucket, key) == source


def test_if_two_sources_contain_a_file_the_first_one_counts():
    """The same as for fetching: the role and the format must come from the same source."""
    whole, part = LogSource("logs"), LogSource("logs", "a/")
    assert Sources([whole, part]).of("logs", "a/x") is whole
    assert Sources([part, whole]).of("logs", "a/x") is part
    assert Sources([part, whole]).of("logs", "b/x") is whole


@pytest.mark.parametrize("key", ["anything", CLOUDTRAIL, ""])
def test_without_sources_every_file_has_a_source_with_the_defaults(key):
    assert Sources().of("anywhere", key) == LogSource("anywhere")


@pytest.mark.parametrize("key", [CLOUDTRAIL, f"p/{CLOUDTRAIL}", LYVE, ACCESS])
def test_without_sources_an_object_is_a_log_file_by_its_key(key):
    assert Sources().is_log("anywhere", key)


@pytest.mark.parametrize("key", ["photos/a.jpg", CLOUDTRAIL.replace("CloudTrail/", "CloudTrail-Digest/"), f"{LYVE}x"])
def test_without_sources_any_other_object_is_data(key):
    assert not Sources().is_log("anywhere", key)


@given(st.text())
def test_with_sources_keys_do_not_decide(key):
    assert CONFIGURED.is_log("other", key)
    assert not CONFIGURED.is_log("data", key)
    assert CONFIGURED.is_log("trail", f"a/{key}")


@pytest.mark.parametrize("key", [CLOUDTRAIL, LYVE, ACCESS])
def test_with_sources_a_file_elsewhere_is_data_with_any_key(key):
    assert not CONFIGURED.is_log("data", key)
    assert not CONFIGURED.is_log("trail", key)


def test_each_source_has_its_own_key_encoding_unless_one_is_configured():
    assert Sources().key_encodings == KEY_ENCODINGS
    assert Sources().key_encodings == {"aws:s3": "url", "minio:s3": "url", "ceph:s3": "raw", "eventbridge": "raw"}
    assert Sources(key_encodings={"ceph:s3": "url"}).key_encodings == {**KEY_ENCODINGS, "ceph:s3": "url"}


def test_a_configured_encoding_for_every_source_replaces_the_known_ones():
    sources = Sources(key_encodings={"*": "raw", "sgws:s3": "url"})
    encodings = [sources.key_encoding(each) for each in ("aws:s3", "minio:s3", "scality:s3", "sgws:s3", "")]
    assert encodings == ["raw", "raw", "raw", "url", "raw"]
    assert [Sources().key_encoding(each) for each in ("aws:s3", "ceph:s3", "sgws:s3", "")] == ["url", "raw", None, None]


def test_configured_key_encodings_do_not_change_the_defaults():
    Sources(key_encodings={"aws:s3": "raw"})
    assert Sources().key_encodings["aws:s3"] == KEY_ENCODINGS["aws:s3"] == "url"


def test_equal_sources_are_equal_keys():
    """Verifiers are found by their source."""
    assert {TRAIL: 1}[LogSource("trail", "a/", verify=True)] == 1
    assert LogSource("trail", "a/") != TRAIL


EVERYWHERE = LogSource(EVERY_BUCKET)


@pytest.mark.parametrize("key", [CLOUDTRAIL, f"p/{CLOUDTRAIL}"])
def test_a_source_of_every_bucket_contains_files_that_look_like_cloudtrail_logs(key):
    sources = Sources([EVERYWHERE])
    assert sources.of("any", key) == EVERYWHERE
    assert sources.is_log("any", key)


@pytest.mark.parametrize(
    "key", [LYVE, ACCESS, "photos/a.jpg", "", CLOUDTRAIL.replace("CloudTrail/", "CloudTrail-Digest/")]
)
def test_a_source_of_every_bucket_contains_no_other_files(key):
    sources = Sources([EVERYWHERE])
    assert sources.of("any", key) is None
    assert not sources.is_log("any", key)


def test_a_source_with_the_bucket_comes_before_a_source_of_every_bucket():
    sources = Sources([EVERYWHERE, TRAIL, OTHER])
    assert sources.of("other", CLOUDTRAIL) is OTHER
    assert sources.of("trail", f"a/{CLOUDTRAIL}") is TRAIL
    assert sources.of("trail", CLOUDTRAIL) is EVERYWHERE


def test_every_bucket_may_have_a_prefix_too():
    sources = Sources([LogSource(EVERY_BUCKET, "p/")])
    assert sources.is_log("any", f"p/{CLOUDTRAIL}")
    assert not sources.is_log("any", CLOUDTRAIL)


CONFIG_FILE = "AWSLogs/111122223333/Config/eu-west-1/2026/1/31/x.json.gz"


@pytest.mark.parametrize(
    ("source", "key", "about"),
    [
        (LogSource("b"), CONFIG_FILE, "a file of another AWS service"),
        (LogSource("b", "AWSLogs/"), CONFIG_FILE, "a file of another AWS service"),
        (LogSource("b", "", Format.CLOUDTRAIL), CONFIG_FILE, "a file of another AWS service"),
        (LogSource("b", "", Format.AUDIT_LOG), CONFIG_FILE, None),
        (LogSource("b", "AWSLogs/111122223333/Config/"), CONFIG_FILE, None),
        (LogSource("b"), f"AWSLogs/111122223333/S3/{ACCESS}", None),
        (LogSource("b"), CLOUDTRAIL, None),
        (LogSource("b"), "anything", None),
        (LogSource("b", "", Format.AUDIT_LOG), "a/", "a folder's marker"),
        (
            LogSource("b", "", Format.AUDIT_LOG),
            CLOUDTRAIL.replace("CloudTrail/", "CloudTrail-Digest/"),
            "CloudTrail digest",
        ),
    ],
)
def test_a_file_that_is_certainly_not_a_log_is_described(source, key, about):
    assert beside_logs(source, key) == about


OTHER_ACCOUNT = CLOUDTRAIL.replace("111122223333", "222222222222")
IGNORING = LogSource("trail", ignore=KeyFilter(("AWSLogs/222222222222/*",)))


def test_an_ignored_file_of_a_source_asks_for_nothing():
    sources = Sources([IGNORING])
    assert sources.file_or_nothing(LogFile("trail", OTHER_ACCOUNT)) == Nothing(IGNORED_FILE, "trail", OTHER_ACCOUNT)
    assert sources.file_or_nothing(LogFile("trail", CLOUDTRAIL)) == LogFile("trail", CLOUDTRAIL)


def test_the_patterns_of_a_source_say_nothing_about_other_sources():
    part = LogSource("trail", "AWSLogs/222222222222/")
    assert Sources([part, IGNORING]).file_or_nothing(LogFile("trail", OTHER_ACCOUNT)) == LogFile("trail", OTHER_ACCOUNT)
    other = Sources([IGNORING, OTHER]).file_or_nothing(LogFile("other", OTHER_ACCOUNT))
    assert other == LogFile("other", OTHER_ACCOUNT)


def test_an_ignored_file_of_a_bucket_that_is_not_allowed_is_still_refused():
    """Otherwise a forged announcement would disappear without a trace."""
    assert Sources([IGNORING]).file_or_nothing(LogFile("evil", OTHER_ACCOUNT)) == LogFile("evil", OTHER_ACCOUNT)
