"""The fingerprint has the settings that decide about events, and no others."""

import pytest
from tests.acceptance.settings.minimal import changed

from jibe_sqs.compose.fingerprint import DECIDE_NOTHING, LIMITS_DECIDE_NOTHING, LOGS_DECIDE_NOTHING, Fingerprint
from jibe_sqs.settings import LimitSettings, LogSettings, Rules, Settings, load

BUCKETS = {"photos": "/S3/photos", "films": {"folder": "/S3/films", "prefix": "new"}}
LOGS = [{"bucket": "trail"}, {"bucket": "access", "prefix": "logs/", "format": "access-log"}]


@pytest.fixture
def fingerprint(write):
    def fingerprint(kind=Settings, **settings):
        values = changed(**({"buckets": BUCKETS, "logs": LOGS} | settings))
        return Fingerprint.of(load(kind, config=write(values)))

    return fingerprint


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"buckets": BUCKETS | {"photos": "/Other/photos"}}, ["buckets.photos"]),
        ({"buckets": BUCKETS | {"new": "/S3/new"}}, ["buckets.new"]),
        ({"buckets": {"photos": "/S3/photos"}}, ["buckets.films"]),
        ({"own_writes": {"user_agents": ["*AccessAnywhere*"]}}, ["own_writes.user_agents"]),
        ({"own_writes": {"source_addresses": ["192.0.2.0/24"]}}, ["own_writes.source_addresses"]),
        ({"key_encodings": {"minio:s3": "raw"}}, ["key_encodings.minio:s3"]),
        ({"notifications": [{"when": "a", "bucket": "b", "key": "c"}]}, ["notifications"]),
        ({"limits": {"key_length": 100}}, ["limits.key_length"]),
        ({"logs": [{"bucket": "trail", "on_bad_record": "skip"}, LOGS[1]]}, ["logs.trail"]),
        ({"logs": [LOGS[0], LOGS[1] | {"format": "cloudtrail"}]}, ["logs.access/logs/"]),
        ({"logs": [*LOGS, {"bucket": "more"}]}, ["logs.more"]),
        ({"logs": [LOGS[0] | {"ignore": "*/222222222222/*"}, LOGS[1]]}, ["logs.trail"]),
        ({"buckets": BUCKETS | {"films": BUCKETS["films"] | {"ignore": "tmp/"}}}, ["buckets.films"]),
        ({"ignore_keys": "*.tmp"}, ["ignore_keys"]),
    ],
)
def test_a_setting_that_decides_is_named_when_it_changes(fingerprint, settings, names):
    before, after = fingerprint(), fingerprint(**settings)
    assert after.changed(before.names) == names
    assert before.short != after.short


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {"messages_held": 5, "read_seconds": 7}},
        {"aws": {"region": "eu-west-1"}},
        {"ledger": {"kind": "memory"}},
        {"log": {"level": "debug"}},
        {"report": {"interval": 60}},
        {"ignore_buckets": "*-scratch"},
        {"logs": [{"bucket": "trail", "sweep": "3m", "region": "eu-west-1"}, LOGS[1]]},
        {"logs": [LOGS[0], LOGS[1] | {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "SECRET-CANARY"}]},
        {"buckets": dict(reversed(BUCKETS.items()))},
    ],
)
def test_a_setting_that_decides_nothing_changes_nothing(fingerprint, settings):
    assert fingerprint(**settings) == fingerprint()


def test_the_order_of_sources_counts_only_if_a_file_may_match_both(fingerprint):
    """The first source that matches a file decides its format."""
    all_of_it, part = {"bucket": "trail"}, {"bucket": "trail", "prefix": "AWSLogs/", "on_bad_record": "skip"}
    assert fingerprint(logs=LOGS) == fingerprint(logs=LOGS[::-1])
    assert fingerprint(logs=[all_of_it, part]) != fingerprint(logs=[part, all_of_it])


def test_every_command_has_the_fingerprint_of_the_service(fingerprint, write):
    """`run` adds the logs that are swept by default. A command that looks into its ledger does not."""
    jibe = {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"}
    assert fingerprint(Rules) == fingerprint(Settings)
    assert Fingerprint.of(load(Settings, config=write(jibe))) == Fingerprint.of(load(Rules, config=write(jibe)))


def test_a_large_group_is_one_name(fingerprint):
    """The note of a service with very many buckets stays small."""
    many = {f"bucket-{number}": "/S3/all" for number in range(1001)}
    assert [name for name in fingerprint(buckets=many).names if name.startswith("buckets")] == ["buckets.*"]
    assert fingerprint(buckets=many).short != fingerprint(buckets=many | {"bucket-7": "/S3/7"}).short


def test_every_exception_is_a_setting():
    """A name that is misspelt in the list of exceptions would except nothing."""
    assert Rules.model_fields.keys() >= DECIDE_NOTHING
    assert LimitSettings.model_fields.keys() > LIMITS_DECIDE_NOTHING
    assert {*LogSettings.model_fields, "expect"} > LOGS_DECIDE_NOTHING


def test_the_short_form_has_ten_hexadecimal_digits(fingerprint):
    assert len(bytes.fromhex(fingerprint().short)) == 5
