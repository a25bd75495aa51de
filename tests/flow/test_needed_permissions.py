"""The permissions that a configuration needs, from a table of configurations."""

import re
from pathlib import Path

import pytest

import jibe_sqs
from jibe_sqs.compose.needed_permissions import CHECK, Asked, needed_permissions
from jibe_sqs.core.secret_references import Parameter, secret_reference
from jibe_sqs.settings import AwsSettings, Settings

SOURCE = Path(jibe_sqs.__file__).parent
ROLE = "arn:aws:iam::444455556666:role/logs"
URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/jibe"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:jibe"
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:jibe/aa-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:111122223333:parameter/jibe/webhook"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:on-call"
CHANNEL = "arn:aws:cloudtrail:eu-west-1:111122223333:channel/example"
KEYS = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "secret"}
ELSEWHERE = {"endpoint": "https://s3.example.com"}
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/jibe-ledger"
ACCOUNT = {"endpoint": "https://files.example.com", "permanent_token": "TOKEN"}
OF_QUEUE = {"Consume", "DeadLetter"}


def needed(asked=None, **settings):
    return needed_permissions(Settings(**{"access_anywhere": ACCOUNT, "queues": [{"url": URL}]} | settings), asked)


def resources(found, role=""):
    """What each statement is about."""
    by_sid = {}
    for grant in found.grants[role]:
        by_sid.setdefault(grant.sid, set()).add(grant.resource)
    return by_sid


def logs(**entry):
    return {"logs": [{"bucket": "trail", **entry}]}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        (
            {"queues": [{"url": URL + ".fifo"}]},
            {"Consume": {QUEUE + ".fifo"}, "DeadLetter": {QUEUE + "-dead-letters.fifo"}},
        ),
        (
            {"queues": [{"url": "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/jibe"}], **logs()},
            {
                "Consume": {"arn:aws-cn:sqs:cn-north-1:111122223333:jibe"},
                "DeadLetter": {"arn:aws-cn:sqs:cn-north-1:111122223333:jibe-dead-letters"},
                "ReadLogs": {"arn:aws-cn:s3:::trail/*"},
                "ListLogs": {"arn:aws-cn:s3:::trail"},
            },
        ),
        (
            {"queues": [{"url": "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/111122223333/jibe"}]},
            {"Consume": {QUEUE}, "DeadLetter": {QUEUE + "-dead-letters"}},
        ),
        (logs(prefix="a?b/"), {"ReadLogs": {"arn:aws:s3:::trail/a${?}b/*"}, "ListLogs": {"arn:aws:s3:::trail"}}),
        (
            {"logs": [{"bucket": "*", "sweep": "3m"}]},
            {"ReadLogs": {"arn:aws:s3:::*/*"}, "ListLogs": {"arn:aws:s3:::*"}, "FindBuckets": {"*"}},
        ),
        (logs(via="access-anywhere"), {}),
        (
            logs(prefix="a/", verify="digest"),
            {
                "ReadLogs": {"arn:aws:s3:::trail/a/*", "arn:aws:s3:::trail/*CloudTrail-Digest/*"},
                "ListLogs": {"arn:aws:s3:::trail"},
                "Verify": {"*"},
            },
        ),
        (logs(**KEYS), {}),
        (logs(**ELSEWHERE), {}),
        (
            {"aws": ELSEWHERE, "queues": [{"url": URL, "endpoint": "https://sqs.eu-west-1.amazonaws.com"}], **logs()},
            {},
        ),
        ({"ledger": {"kind": "dynamodb", "table": TABLE}}, {"Remember": {TABLE}}),
        ({"ledger": {"kind": "dynamodb", "table": "jibe-ledger", "region": "eu-west-1"}}, {"Remember": {TABLE}}),
        (
            {"ledger": {"kind": "dynamodb", "table": TABLE}, "aws": ELSEWHERE, "queues": [], **logs(sweep="3m")},
            {"Remember": {TABLE}},
        ),
        ({"alerts": {"topic": TOPIC}}, {"Alert": {TOPIC}}),
        ({"audit": {"channel": CHANNEL}}, {"Audit": {CHANNEL}}),
        (
            {
                "access_anywhere": {**ACCOUNT, "permanent_token": f"{SECRET}#token"},
                "alerts": {"webhook": f"{PARAMETER}:3"},
            },
            {"LogIn": {SECRET}, "ReadSecrets": {PARAMETER}},
        ),
        (
            {"access_anywhere": {**ACCOUNT, "permanent_token": SECRET.removesuffix("-AbCdEf")}},
            {"LogIn": {SECRET.removesuffix("AbCdEf") + "??????"}},
        ),
        ({"access_anywhere": {**ACCOUNT, "permanent_token": "file:/run/secrets/token"}}, {}),
        (
            {"compare": {"every": "7d"}, "buckets": {"media": "/S3/media", "fast--use1-az5--x-s3": "/S3/fast"}},
            {
                "Compare": {"arn:aws:s3:::media"},
                "CompareExpress": {"arn:aws:s3express:*:111122223333:bucket/fast--use1-az5--x-s3"},
            },
        ),
        ({"compare": {"every": "7d"}}, {"Compare": {"arn:aws:s3:::*"}}),
    ],
)
def test_a_setting_adds_what_it_needs(settings, expected):
    found = resources(needed(**settings))
    if "queues" not in settings or (settings["queues"] and "aws" in settings):
        expected = {"Consume": {QUEUE}, "DeadLetter": {QUEUE + "-dead-letters"}} | expected
    assert found == expected


def test_a_role_gets_a_policy_of_its_own():
    queue = {"url": "https://sqs.eu-west-1.amazonaws.com/444455556666/other", "role_arn": ROLE}
    found = needed(queues=[{"url": URL}, queue], **logs(role_arn=ROLE))
    assert resources(found) == {"Consume": {QUEUE}, "DeadLetter": {QUEUE + "-dead-letters"}, "AssumeRoles": {ROLE}}
    assert resources(found, ROLE).keys() == {*OF_QUEUE, "ReadLogs", "ListLogs"}
    assert any(f"--role {ROLE}" in note for note in found.notes)


def test_the_owner_of_a_log_bucket_is_a_condition():
    found = needed(**logs(bucket_owner="444455556666")).grants[""]
    assert {each.owner for each in found if each.sid in ("ReadLogs", "ListLogs")} == {"444455556666"}


def test_a_trial_that_keeps_its_messages_may_not_delete_them():
    trial = {"sync": {"strategy": "dry-run", "acknowledge": False}, "buckets": {"media": "/S3/media"}}
    (grant,) = needed(**trial).grants[""]
    assert grant.sid == "Consume"
    assert "sqs:DeleteMessage" not in grant.actions


@pytest.mark.parametrize(
    ("settings", "part", "noted"),
    [
        ({"ledger": {"kind": "dynamodb", "table": "jibe-ledger"}}, ":*:111122223333:table/jibe-ledger", "ledger.table"),
        (
            {"queues": [{"url": "https://proxy.example.com/queue/jibe", "region": "eu-west-1"}]},
            ":eu-west-1:*:jibe",
            "queue jibe",
        ),
    ],
)
def test_what_is_not_known_is_a_star_and_a_note(settings, part, noted):
    found = needed(**settings)
    assert any(part in each.resource for each in found.grants[""])
    assert any(noted in note for note in found.notes)


@pytest.mark.parametrize(
    "settings", [logs(**KEYS), logs(**ELSEWHERE), {"aws": ELSEWHERE}, {"audit": {"channel": CHANNEL, **KEYS}}]
)
def test_what_is_left_out_is_noted(settings):
    assert any("is left out" in note for note in needed(**settings).notes)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (("configurations", "jibe.json"), ("s3:GetObject", "arn:aws:s3:::configurations/jibe.json")),
        (secret_reference(f"{PARAMETER}:3").kept, ("ssm:GetParameter", PARAMETER)),
    ],
)
def test_the_configuration_in_aws_may_be_read(document, expected):
    (grant,) = [each for each in needed(Asked(document)).grants[""] if each.sid == "Configure"]
    assert (*grant.actions, grant.resource) == expected


@pytest.mark.parametrize(
    ("settings", "document"),
    [
        ({"ledger": {"kind": "dynamodb", "table": "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/jibe"}}, None),
        ({}, Parameter("arn:aws-cn:ssm:cn-north-1:111122223333:parameter/jibe", "cn-north-1")),
    ],
)
def test_without_a_queue_any_arn_names_the_partition(settings, document):
    found = resources(needed(Asked(document), queues=[], **logs(sweep="1h"), **settings))
    assert found["ListLogs"] == {"arn:aws-cn:s3:::trail"}


def test_a_configuration_in_another_store_is_left_out():
    found = needed(Asked(("configurations", "jibe.json"), AwsSettings(**ELSEWHERE)))
    assert resources(found).keys() == OF_QUEUE


def test_commands_are_allowed_if_they_are_asked_for():
    found = resources(needed(Asked(check=True, compare=True), buckets={"media": "/S3/media"}))
    assert found["Compare"] == {"arn:aws:s3:::media"}
    assert found["Check"] == {"*"}


def test_the_check_is_allowed_what_it_asks():
    """Beside what the service may do, which it may do on more. Every caller may ask who he is."""
    asked = set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', (SOURCE / "adapters" / "aws_inspection.py").read_text()))
    allowed = {action for each in needed(**logs()).grants[""] for action in each.actions}
    assert asked - allowed - {"sts:GetCallerIdentity"} == set(CHECK) - allowed
    assert set(CHECK) <= asked


def test_no_secret_is_in_the_policy_or_its_notes():
    found = needed(
        access_anywhere={**ACCOUNT, "permanent_token": "CANARY"}, alerts={"webhook": "https://h.example/CANARY"}
    )
    assert "CANARY" not in repr(found)
