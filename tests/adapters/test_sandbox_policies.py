"""Policies of an identity are evaluated as IAM evaluates them. What the evaluator does not know is an error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.sandbox.aws.aws_calls import Need
from jibe_sqs.sandbox.aws.policies import PolicyUnknown, permits

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:jibe"
RECEIVE = Need("sqs:ReceiveMessage", QUEUE, {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"})


def policy(**elements: Any) -> dict[str, Any]:
    named = {name: value for name, value in elements.items() if value is not None}
    return {"Statement": [{"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": QUEUE, **named}]}


def without(name: str, **elements: Any) -> dict[str, Any]:
    (statement,) = policy(**elements)["Statement"]
    return {"Statement": {key: value for key, value in statement.items() if key != name}}


@pytest.mark.parametrize(
    "document",
    [
        policy(),
        policy(Action=["sqs:DeleteMessage", "SQS:receivemessage"]),
        policy(Action="sqs:Receive*"),
        policy(Action="sqs:?eceiveMessage"),
        policy(Resource="*"),
        policy(Resource="arn:aws:sqs"),
        policy(Action="*"),
        policy(Resource=["arn:aws:s3:::logs", "arn:aws:sqs:*:111122223333:*"]),
        without("Action", NotAction="sqs:DeleteMessage"),
        without("Resource", NotResource="arn:aws:s3:::logs"),
        policy(Condition={"StringEquals": {"kms:viaservice": ["other", "sqs.eu-west-1.amazonaws.com"]}}),
        policy(Condition={"StringLike": {"kms:ViaService": "sqs.*.amazonaws.com"}}),
        policy(Condition={"StringNotEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}),
        policy(Condition={"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}),
        policy(Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}),
        policy(Condition={"Null": {"aws:PrincipalOrgID": True}}),
    ],
)
def test_a_statement_allows_what_it_names(document):
    assert permits([document], RECEIVE)


@pytest.mark.parametrize(
    "document",
    [
        {"Statement": []},
        policy(Effect="Deny"),
        policy(Action="sqs:receive"),
        policy(Resource=QUEUE.upper()),
        policy(Resource="arn:aws:*jibe"),
        policy(Resource="arn:*:111122223333:jibe"),
        policy(Action="s*"),
        policy(Resource=f"{QUEUE}-dead"),
        without("Action", NotAction="sqs:*"),
        without("Resource", NotResource="arn:aws:sqs:*"),
        policy(Condition={"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}),
        policy(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        policy(Condition={"StringNotLike": {"kms:ViaService": "sqs.*"}}),
        policy(Condition={"Bool": {"aws:SecureTransport": "false"}}),
        policy(Condition={"Null": {"kms:ViaService": "true"}}),
        policy(Condition={"StringLike": {"kms:ViaService": "sqs.*"}, "StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
    ],
)
def test_what_no_statement_names_is_denied(document):
    assert not permits([document], RECEIVE)


@pytest.mark.parametrize(
    "document",
    [
        policy(Condition={"NullIfExists": {"aws:PrincipalOrgID": "true"}}),
        policy(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
        policy(Condition={"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}),
        policy(Resource="arn:aws:s3:::${aws:username}"),
        policy(Principal="*"),
        policy(Effect="allow"),
        without("Resource"),
    ],
)
def test_what_is_unknown_is_an_error_and_no_permission(document):
    with pytest.raises(PolicyUnknown):
        permits([document], RECEIVE)


@pytest.mark.parametrize(("pattern", "holds"), [("arn:aws:sqs:*:*:jibe", True), ("arn:*:jibe", False)])
def test_a_wildcard_of_an_arn_condition_stays_in_its_part(pattern, holds):
    need = Need(RECEIVE.action, QUEUE, {"aws:SourceArn": QUEUE})
    assert permits([policy(Condition={"ArnLike": {"aws:SourceArn": pattern}})], need) is holds


actions = st.sampled_from(["sqs:ReceiveMessage", "sqs:*", "*", "sqs:DeleteMessage", "s3:GetObject"])
resources = st.sampled_from([QUEUE, "*", f"{QUEUE}*", "arn:aws:s3:::logs/*"])
documents = st.builds(lambda action, resource: policy(Action=action, Resource=resource), actions, resources)
needs = st.builds(
    Need, st.sampled_from(["sqs:ReceiveMessage", "s3:GetObject"]), st.sampled_from([QUEUE, "arn:aws:s3:::logs/a"])
)


@given(st.lists(documents), documents, needs)
def test_another_permission_never_takes_one_away(policies, more, need):
    assert permits([*policies, more], need) or not permits(policies, need)


@given(st.lists(documents), st.randoms(), needs)
def test_a_denial_wins_wherever_it_stands(policies, random, need):
    found = [*policies, policy(Effect="Deny", Action=need.action, Resource=need.resource)]
    random.shuffle(found)
    assert not permits(found, need)
