"""Policies of IAM, from grants to the document."""

from jibe_sqs.core.iam_policies import MAX_INLINE, MAX_MANAGED, Grant, is_too_long, literal, policy_document

QUEUE = Grant("Consume", ("sqs:ReceiveMessage", "sqs:DeleteMessage"), "arn:aws:sqs:eu-west-1:111122223333:b")


def test_grants_of_one_name_make_one_sorted_statement():
    other = Grant("Consume", ("sqs:DeleteMessage",), "arn:aws:sqs:eu-west-1:111122223333:a")
    assert policy_document([QUEUE, other, QUEUE]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Consume",
                "Effect": "Allow",
                "Action": ["sqs:DeleteMessage", "sqs:ReceiveMessage"],
                "Resource": [other.resource, QUEUE.resource],
            }
        ],
    }


def test_buckets_of_several_owners_have_statements_of_their_own():
    """One statement for all would let each owner's account take over the other bucket's name."""
    owners = {"mine": "111122223333", "theirs": "444455556666", "any": ""}
    grants = [Grant("ListLogs", ("s3:ListBucket",), f"arn:aws:s3:::{name}", owner) for name, owner in owners.items()]
    statements = policy_document(grants)["Statement"]
    assert [(each["Sid"], each["Resource"]) for each in statements] == [
        ("ListLogs", "arn:aws:s3:::any"),
        ("ListLogs2", "arn:aws:s3:::mine"),
        ("ListLogs3", "arn:aws:s3:::theirs"),
    ]
    assert [each.get("Condition") for each in statements] == [
        None,
        {"StringEquals": {"s3:ResourceAccount": "111122223333"}},
        {"StringEquals": {"s3:ResourceAccount": "444455556666"}},
    ]


def test_a_session_with_a_directory_bucket_may_only_read():
    arn = "arn:aws:s3express:eu-west-1:111122223333:bucket/a--euw1-az1--x-s3"
    (statement,) = policy_document([Grant("C", ("s3express:CreateSession",), arn, mode="ReadOnly")])["Statement"]
    assert statement["Condition"] == {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}


def test_characters_with_a_meaning_in_policies_are_written_as_themselves():
    assert literal("a*b?c${d}") == "a${*}b${?}c${$}{d}"


def test_white_space_does_not_count_as_length():
    assert not is_too_long("a" * MAX_MANAGED + " \n" * 100)
    assert is_too_long("a" * (MAX_MANAGED + 1))
    assert not is_too_long("a" * MAX_INLINE, MAX_INLINE)
