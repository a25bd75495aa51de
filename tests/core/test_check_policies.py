"""Policies and trails' selectors, as the checks judge them."""

import json

import pytest

from jibe_sqs.adapters.aws_selectors import selectors
from jibe_sqs.commands.check import policies
from jibe_sqs.commands.check.facts import TrailState
from jibe_sqs.commands.check.own_writes import is_too_broad
from jibe_sqs.commands.check.topics import principal_of
from jibe_sqs.commands.check.trails import S3, logs_writes

TOPIC = "arn:aws:sns:eu-west-1:111122223333:jibe"
SNS = policies.Source(("sns.amazonaws.com",), TOPIC)
SEND = "sqs:SendMessage"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal="sns.amazonaws.com", action=SEND, **conditions):
    who = principal if principal == "*" else {"Service": principal}
    return {"Effect": "Allow", "Principal": who, "Action": action, "Resource": "*", "Condition": conditions}


@pytest.mark.parametrize(
    "statement",
    [
        allow(),
        allow(action="SQS:*"),
        allow(action=["sqs:GetQueueUrl", "sqs:Send*"]),
        allow(["s3.amazonaws.com", "sns.amazonaws.com"]),
        allow("*"),
        {**allow(), "Principal": {"AWS": "*"}},
        allow(ArnEquals={"aws:SourceArn": TOPIC}),
        allow(ArnLike={"AWS:SourceArn": ["arn:aws:sns:*:111122223333:other", "arn:aws:sns:*:111122223333:jibe"]}),
        allow(StringEquals={"aws:SourceAccount": "111122223333"}),
        allow(StringEquals={"aws:PrincipalOrgID": "o-example"}),
        allow(StringLike={"aws:SourceAccount": "1111*"}),
        allow(Null={"aws:SourceArn": "false"}),
        {"Effect": "Allow", "Principal": "*", "NotAction": "sqs:DeleteQueue"},
    ],
)
def test_a_policy_admits_a_topic(statement):
    """In each of the ways in which policies are written."""
    assert policies.admits(document(statement), SEND, SNS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        '{"Statement": null}',
        '{"Statement": 7}',
        "[" * 100_000,
        document(),
        document({"Effect": "Allow", "Principal": "*", "NotAction": "sqs:Send*"}),
        document(allow("s3.amazonaws.com")),
        document(allow(action="sqs:ReceiveMessage")),
        document(allow(ArnLike={"aws:SourceArn": "arn:aws:sns:us-east-1:*:*"})),
        document(allow(StringEquals={"aws:SourceAccount": "444455556666"})),
        document(allow(), {**allow("*"), "Effect": "Deny"}),
    ],
)
def test_a_policy_does_not_admit_a_topic(text):
    """Without a statement for it, or with one that denies it."""
    assert not policies.admits(text, SEND, SNS)


def test_a_denial_of_connections_without_tls_denies_nothing_else():
    """The templates have this statement."""
    only_tls = {**allow("*", Bool={"aws:SecureTransport": "false"}), "Effect": "Deny"}
    assert policies.admits(document(allow(), only_tls), SEND, SNS)


def test_a_policy_is_open_only_without_any_condition():
    """A condition of any kind restricts it."""
    assert policies.is_open(document(allow("*")), SEND)
    assert not policies.is_open(document(allow("*", StringEquals={"aws:SourceAccount": "1"})), SEND)
    assert not policies.is_open(document(allow()), SEND)


@pytest.mark.parametrize(
    ("topic", "queue", "principal"),
    [
        ("eu-west-1", "us-east-1", "sns.amazonaws.com"),
        ("ap-east-1", "ap-east-1", "sns.amazonaws.com"),
        ("ap-east-1", "us-east-1", "sns.ap-east-1.amazonaws.com"),
        ("us-east-1", "me-south-1", "sns.me-south-1.amazonaws.com"),
        ("ap-east-1", "me-south-1", "sns.me-south-1.amazonaws.com"),
        ("cn-north-1", "cn-northwest-1", "sns.amazonaws.com"),
    ],
)
def test_an_opt_in_region_delivers_across_regions_as_its_own_principal(topic, queue, principal):
    """SNS Developer Guide, "Cross-region delivery"; aws-cdk PR 38339."""
    assert principal_of(topic, queue) == principal


def trail(answer, **fields):
    return TrailState(
        "arn:aws:cloudtrail:eu-west-1:1:trail/t", "eu-west-1", "logs", selectors=selectors(answer), **fields
    )


def basic(*values, kind="WriteOnly", resource=S3):
    return {"EventSelectors": [{"ReadWriteType": kind, "DataResources": [{"Type": resource, "Values": list(values)}]}]}


def advanced(resource=S3, **fields):
    found = [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": [resource]},
        *({"Field": name.replace("_", "."), **rule} for name, rule in fields.items()),
    ]
    return {"AdvancedEventSelectors": [{"FieldSelectors": found}]}


ARN = "resources.ARN"
EXPRESS = "AWS::S3Express::Object"


@pytest.mark.parametrize(
    ("answer", "bucket", "is_logged"),
    [
        (basic("arn:aws:s3"), "media", True),
        (basic("arn:aws:s3:::"), "media", True),
        (basic("arn:aws:s3:::media/"), "media", True),
        (basic("arn:aws:s3:::media/team/"), "media", True),
        (basic("arn:aws:s3:::media/"), "media-2", False),
        (basic("arn:aws:s3", kind="ReadOnly"), "media", False),
        (basic("arn:aws:s3:::", resource="AWS::Lambda::Function"), "media", False),
        (
            {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}]},
            "media",
            False,
        ),
        (advanced(), "media", True),
        (advanced(**{ARN: {"NotStartsWith": ["arn:aws:s3:::media/"]}}), "media", False),
        (advanced(**{ARN: {"NotStartsWith": ["arn:aws:s3:::media/tmp/"]}}), "media", True),
        (advanced(**{ARN: {"StartsWith": ["arn:aws:s3:::projects/"]}}), "media", False),
        (advanced(readOnly={"Equals": ["true"]}), "media", False),
        (advanced(eventName={"Equals": ["GetObject"]}), "media", False),
        (advanced(eventName={"Equals": ["PutObject"]}), "media", True),
        (advanced(EXPRESS), "media", False),
        (advanced(EXPRESS), "fast--euw1-az1--x-s3", True),
        (advanced(), "fast--euw1-az1--x-s3", False),
        (
            advanced(EXPRESS, **{ARN: {"StartsWith": ["arn:aws:s3express:eu-west-1:1:bucket/other--euw1-az1--x-s3/"]}}),
            "fast--euw1-az1--x-s3",
            False,
        ),
        ({}, "media", False),
    ],
)
def test_which_buckets_a_trail_logs(answer, bucket, is_logged):
    """By basic and by advanced event selectors."""
    assert logs_writes(trail(answer), bucket, "eu-west-1") is is_logged


def test_a_trail_of_one_region_logs_no_other_region():
    """A trail of all regions does."""
    assert not logs_writes(trail(advanced()), "media", "us-east-1")
    assert logs_writes(trail(advanced(), is_multi_region=True), "media", "us-east-1")


@pytest.mark.parametrize(
    "pattern", ["*", "arn:*", "arn:aws:iam::*:*", "arn:aws:iam::111122223333:user/*", "* *", "[*]"]
)
def test_rules_that_match_nearly_everyone(pattern):
    """They name nothing in particular."""
    assert is_too_broad(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "arn:aws:iam::111122223333:user/access-anywhere",
        "*AccessAnywhere*",
        "arn:*:user/aa-*",
        "AWS:AIDAEXAMPLE",
        "arn:aws:sts::1:assumed-role/AA/*",
    ],
)
def test_rules_that_name_something(pattern):
    """Wildcards are allowed beside a name."""
    assert not is_too_broad(pattern)
