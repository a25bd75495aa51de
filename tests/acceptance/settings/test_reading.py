"""How log files and notifications are read: formats, limits, key encodings, descriptions."""

import json

import pytest
from tests.acceptance.settings.minimal import changed, problems, s3_logs

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.digests import DigestVerifier
from jibe_sqs.compose import rules, stores
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.sources import LogSource
from jibe_sqs.settings import Rules, Settings, load


def test_each_log_source_configures_how_its_files_are_read(write):
    logs = [
        {"bucket": "trail", "prefix": "a/", "verify": "digest"},
        {"bucket": "trail", "prefix": "b/", "format": "access-log", "on_bad_record": "reject"},
        {"bucket": "lyve", "format": "audit-log", "on_bad_record": "skip"},
        {"bucket": "other", "format": "cloudtrail", "verify": "digest"},
    ]
    found = rules.sources(load(Rules, config=write({"logs": logs})))
    assert found.of("trail", "a/x") == LogSource("trail", "a/", None, None, verify=True)
    assert found.of("trail", "b/x") == LogSource("trail", "b/", Format.ACCESS_LOG, "reject")
    assert found.of("lyve", "x") == LogSource("lyve", "", Format.AUDIT_LOG, "skip")
    assert found.of("other", "x") == LogSource("other", "", Format.CLOUDTRAIL, verify=True)
    assert found.of("trail", "c/x") is None


async def test_one_entry_decides_where_a_file_is_fetched_and_how_it_is_read(write):
    """Even if two entries match the file."""
    logs = [{"bucket": "trail", "region": "eu-west-1", "format": "audit-log"}, {"bucket": "trail", "prefix": "a/"}]
    settings = load(Rules, config=write({"logs": logs}))
    async with Aws() as clients:
        fetched = s3_logs(settings, clients)._sources["trail"][0]
    assert (fetched.region, fetched.prefix) == ("eu-west-1", "")
    assert rules.sources(settings).of("trail", "a/x").format is Format.AUDIT_LOG


async def test_only_sources_with_verify_get_a_verifier(write):
    logs = [{"bucket": "trail", "prefix": "a/", "verify": "digest"}, {"bucket": "trail", "prefix": "b/"}]
    settings = load(Settings, config=write(changed(logs=logs)))
    async with Aws() as clients:
        verifiers = stores.verifiers(settings, clients)
    found = rules.sources(settings)
    assert isinstance(verifiers[found.of("trail", "a/x")], DigestVerifier)
    assert found.of("trail", "b/x") not in verifiers


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"format": "csv"}, "logs.0.format: Input should be 'cloudtrail', 'audit-log' or 'access-log'"),
        ({"on_bad_record": "ignore"}, "logs.0.on_bad_record: Input should be 'skip' or 'reject'"),
        ({"verify": "yes"}, "logs.0.verify: Input should be 'digest'"),
        ({"verify": "digest", "format": "access-log"}, "logs.0: verify: only CloudTrail's log files have digests"),
        ({"verify": "digest", "format": "audit-log"}, "logs.0: verify: only CloudTrail's log files have digests"),
    ],
    ids=str,
)
def test_an_invalid_value_of_a_log_source_is_reported(write, entry, expected):
    """Found by this test: access logs with `verify` would all have become dead letters."""
    (problem,) = problems(config=write(changed(logs=[{"bucket": "trail", **entry}])))
    assert problem.startswith(expected)


def test_limits_have_the_defaults_of_the_core(write, monkeypatch):
    assert rules.limits(load(Rules)) == Limits()
    wanted = {
        "compressed_size": 1,
        "decompressed_size": 2,
        "ratio": 3,
        "record_size": 1024,
        "records": 5,
        "key_length": 6,
    }
    monkeypatch.setenv("JIBE_LIMITS__RATIO", "7")
    assert rules.limits(load(Rules, config=write({"limits": wanted}))) == Limits(**{**wanted, "ratio": 7})


@pytest.mark.parametrize(
    "name", ["compressed_size", "decompressed_size", "ratio", "record_size", "records", "key_length"]
)
def test_a_limit_of_zero_is_reported(write, name):
    (problem,) = problems(config=write(changed(limits={name: 0})))
    assert problem.startswith(f"limits.{name}: ")


def test_key_encodings_are_merged_with_the_defaults(write, monkeypatch):
    assert rules.sources(load(Rules)).key_encodings == KEY_ENCODINGS
    settings = load(Rules, config=write({"key_encodings": {"ceph:s3": "url"}}))
    assert rules.sources(settings).key_encodings == {**KEY_ENCODINGS, "ceph:s3": "url"}
    monkeypatch.setenv("JIBE_KEY_ENCODINGS", '{"eventbridge": "url"}')
    assert rules.sources(load(Rules)).key_encodings == {**KEY_ENCODINGS, "eventbridge": "url"}


def test_key_encodings_accept_any_source_and_a_wildcard(write):
    settings = load(
        Rules, config=write({"key_encodings": {"sgws:s3": "raw", "noobaa-1.example.com:s3": "url", "*": "url"}})
    )
    found = rules.sources(settings)
    names = ("sgws:s3", "noobaa-1.example.com:s3", "ceph:s3", "x")
    assert [found.key_encoding(name) for name in names] == ["raw", "url", "url", "url"]


@pytest.mark.parametrize("wrong", [{"": "url"}, {"aws:s3": "base64"}, {"aws:s3": None}, ["url"], "url"], ids=str)
def test_an_invalid_key_encoding_is_reported(write, wrong):
    (problem,) = problems(config=write(changed(key_encodings=wrong)))
    assert problem.startswith("key_encodings")


RULE = {"when": "events", "items": "events", "bucket": "bucketName", "key": "objectName"}


def test_notifications_of_other_shapes_are_described_in_jmespath(write, monkeypatch):
    (found,) = rules.sources(load(Rules, config=write({"notifications": [RULE]}))).notifications
    assert (found.when.text, found.items.text, found.bucket.text, found.key.text) == tuple(RULE.values())
    assert (found.event, found.time, found.key_encoding) == (None, None, None)
    monkeypatch.setenv("JIBE_NOTIFICATIONS", json.dumps([{**RULE, "time": "t", "event": "e", "key_encoding": "raw"}]))
    (found,) = rules.sources(load(Rules)).notifications
    assert (found.event.text, found.time.text, found.key_encoding) == ("e", "t", "raw")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"when": "a["}, "notifications.1.when: not a JMESPath expression: 'a[': column 3: "),
        ({"items": "a b"}, "notifications.1.items: not a JMESPath expression: 'a b': column 3: Unexpected token: b"),
        (
            {"key": "foo(a)"},
            "notifications.1.key: not a JMESPath expression: 'foo(a)': column 1: there is no function foo()",
        ),
        ({"bucket": ""}, "notifications.1.bucket: not a JMESPath expression: "),
        ({"time": 7}, "notifications.1.time: "),
        ({"key_encoding": "base64"}, "notifications.1.key_encoding: "),
        ({"keys": "a"}, "notifications.1.keys: no such setting"),
    ],
)
def test_a_mistake_in_a_description_is_reported_with_its_column(write, changes, expected):
    (problem,) = problems(config=write(changed(notifications=[RULE, {**RULE, **changes}])))
    assert problem.startswith(expected)


@pytest.mark.parametrize("name", ["when", "bucket", "key"])
def test_a_description_needs_when_bucket_and_key(write, name):
    (problem,) = problems(config=write(changed(notifications=[{key: RULE[key] for key in RULE if key != name}])))
    assert problem.startswith(f"notifications.0.{name}: missing")
