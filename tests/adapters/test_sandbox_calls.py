"""The sandbox's AWS records the calls under its real host names, and the permissions that each of them needs."""

import json
from itertools import count

import pytest
from botocore.exceptions import ClientError
from tests.aws_clients import aws_client
from tests.aws_permissions import allowed, not_allowed, recorded

from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client

REGION = "eu-west-1"
NUMBER = count(1)


@pytest.fixture
def caller(tunnelled_aws):
    """An access key of its own for each test: `caller.client(...)`, and `caller.needs()` as (action, resource)."""
    return Caller(tunnelled_aws)


class Caller:
    def __init__(self, aws):
        self.endpoint = aws.endpoint
        self.name = f"calls-{next(NUMBER)}"
        self.access_key = f"AKIACALLER{next(NUMBER):010}"
        self._environment = {**aws.environment, "AWS_ACCESS_KEY_ID": self.access_key}

    def client(self, service):
        return aws_client(self._environment, service, REGION)

    def owner(self, service):
        return client(self.endpoint, service, REGION)

    def calls(self):
        return recorded(self.endpoint, self.access_key)

    def needs(self):
        return [(need.action, need.resource) for call in self.calls() for need in call.needs]

    def key(self):
        return self.owner("kms").create_key()["KeyMetadata"]["Arn"]

    def bucket(self):
        self.owner("s3").create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return f"arn:aws:s3:::{self.name}"


def test_calls_of_sqs_need_the_action_on_the_queue(caller):
    """A batch needs the permission of the single call."""
    url = caller.owner("sqs").create_queue(QueueName=caller.name)["QueueUrl"]
    sqs = caller.client("sqs")
    sqs.get_queue_url(QueueName=caller.name)
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    sqs.receive_message(QueueUrl=url)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{caller.name}"
    assert caller.needs() == [(f"sqs:{each}", arn) for each in ("GetQueueUrl", "SendMessage", "ReceiveMessage")]
    assert [(call.operation, call.status) for call in caller.calls()][1] == ("SendMessageBatch", 200)


def test_calls_of_s3_need_the_action_on_the_object_or_on_the_bucket(caller):
    bucket = caller.bucket()
    caller.owner("s3").put_bucket_versioning(Bucket=caller.name, VersioningConfiguration={"Status": "Enabled"})
    version = caller.owner("s3").put_object(Bucket=caller.name, Key="a b/ü", Body=b"x")["VersionId"]
    s3, found = caller.client("s3"), {"Bucket": caller.name, "Key": "a b/ü"}
    s3.get_object(**found)
    s3.head_object(**found)
    s3.get_object(**found, VersionId=version)
    s3.list_objects_v2(Bucket=caller.name, Prefix="a")
    s3.head_bucket(Bucket=caller.name)
    s3.get_bucket_notification_configuration(Bucket=caller.name)
    assert caller.needs() == [
        ("s3:GetObject", f"{bucket}/a b/ü"),
        ("s3:GetObject", f"{bucket}/a b/ü"),
        ("s3:GetObjectVersion", f"{bucket}/a b/ü"),
        ("s3:ListBucket", bucket),
        ("s3:ListBucket", bucket),
        ("s3:GetBucketNotification", bucket),
    ]


def test_a_missing_object_also_needs_the_permission_to_list(caller):
    bucket = caller.bucket()
    with pytest.raises(ClientError, match="NoSuchKey"):
        caller.client("s3").get_object(Bucket=caller.name, Key="a")
    assert caller.needs() == [("s3:GetObject", f"{bucket}/a"), ("s3:ListBucket", bucket)]
    assert [call.status for call in caller.calls()] == [404]


def test_what_a_customer_managed_key_encrypts_also_needs_the_key(caller):
    key, bucket = caller.key(), caller.bucket()
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    caller.owner("s3").put_object(Bucket=caller.name, Key="a", Body=b"x", **encrypted)
    caller.client("s3").get_object(Bucket=caller.name, Key="a")
    queue = caller.owner("sqs").create_queue(QueueName=caller.name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    caller.client("sqs").receive_message(QueueUrl=queue)
    secret = caller.owner("secretsmanager").create_secret(Name=caller.name, SecretString="x", KmsKeyId=key)["ARN"]
    caller.client("secretsmanager").get_secret_value(SecretId=caller.name)
    caller.owner("ssm").put_parameter(Name=f"/{caller.name}/a", Value="x", Type="SecureString", KeyId=key)
    caller.client("ssm").get_parameter(Name=f"/{caller.name}/a")
    assert caller.needs() == [
        ("s3:GetObject", f"{bucket}/a"),
        ("kms:Decrypt", key),
        ("sqs:ReceiveMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{caller.name}"),
        ("kms:Decrypt", key),
        ("secretsmanager:GetSecretValue", secret),
        ("kms:Decrypt", key),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{caller.name}/a"),
        ("kms:Decrypt", key),
    ]


def test_a_call_on_two_tables_needs_both(caller):
    arns = []
    for name in (f"{caller.name}-a", f"{caller.name}-b"):
        schema = [{"AttributeName": "pk", "KeyType": "HASH"}]
        types = [{"AttributeName": "pk", "AttributeType": "S"}]
        made = caller.owner("dynamodb").create_table(
            TableName=name, KeySchema=schema, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
        )
        arns.append(made["TableDescription"]["TableArn"])
    keys = {"Keys": [{"pk": {"S": "1"}}]}
    # A request names a table by its name or by its ARN.
    caller.client("dynamodb").batch_get_item(RequestItems={f"{caller.name}-a": keys, f"{caller.name}-b": keys})
    assert caller.needs() == [("dynamodb:BatchGetItem", arn) for arn in arns]


def test_a_policy_allows_a_call_only_with_all_that_it_needs(caller):
    """The answer is about this access key's calls. `GetCallerIdentity` needs no permission."""
    bucket = caller.bucket()
    caller.client("sts").get_caller_identity()
    with pytest.raises(ClientError):
        caller.client("s3").get_object(Bucket=caller.name, Key="a")
    reads = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/*"}
    lists = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket}
    identity, missing = caller.calls()
    assert allowed({"Statement": []}, identity)
    assert not allowed({"Statement": reads}, missing)
    assert not_allowed({"Statement": reads}, caller.calls()) == [f"s3:ListBucket on {bucket}"]
    assert allowed(json.loads(json.dumps({"Statement": [reads, lists]})), missing)
