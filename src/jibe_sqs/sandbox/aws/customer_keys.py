"""The customer managed keys of KMS that encrypt what moto stores.

AWS uses such a key with the permissions of the program that reads. Keys that AWS manages (`alias/aws/sqs`) need none.
"""

from contextlib import suppress
from typing import Final

from moto.dynamodb.models import dynamodb_backends
from moto.kms.models import kms_backends
from moto.s3.models import FakeBucket, FakeKey
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from jibe_sqs.sandbox.aws.deployment import ACCOUNT

_OF_AWS: Final = "alias/aws/"


def resolved_key(region: str, name: str) -> str:
    """The ARN of a key, from its id, alias or ARN. The name itself if there is no such key."""
    where = name.split(":")[3] if name.startswith("arn:") else region
    backend = kms_backends[ACCOUNT][where]
    with suppress(Exception):
        return str(backend.keys[backend.any_id_to_key_id(name)].arn)
    return name


def key_of_object(bucket: FakeBucket, stored: FakeKey) -> str:
    """The key that encrypts this object. Empty if no customer managed key does."""
    return _customers(bucket.region_name, stored.kms_key_id if stored.encryption == "aws:kms" else None)


def key_of_queue(region: str, arn: str) -> str:
    """The key that encrypts this queue's messages."""
    queue = sqs_backends[ACCOUNT][region].queues.get(arn.rpartition(":")[2])
    return _customers(region, getattr(queue, "kms_master_key_id", None))


def key_of_topic(region: str, arn: str) -> str:
    """The key that encrypts this topic's messages."""
    topic = sns_backends[ACCOUNT][region].topics.get(arn)
    return _customers(region, topic.kms_master_key_id if topic else None)


def key_of_table(region: str, arn: str) -> str:
    """The key that encrypts this table."""
    table = dynamodb_backends[ACCOUNT][region].tables.get(arn.rpartition("/")[2])
    specified = (table.sse_specification if table else None) or {}
    return _customers(region, specified.get("KMSMasterKeyId"))


def key_of_secret(region: str, arn: str) -> str:
    """The key that encrypts this secret."""
    from moto.secretsmanager.models import secretsmanager_backends

    secret = secretsmanager_backends[ACCOUNT][region].secrets.get(arn)
    return _customers(region, secret.kms_key_id if secret else None)


def key_of_parameter(region: str, arn: str) -> str:
    """The key that encrypts this parameter of Systems Manager."""
    from moto.ssm.models import ssm_backends

    with suppress(Exception):
        found = ssm_backends[ACCOUNT][region].get_parameter(arn)
        if found is not None and found.parameter_type == "SecureString":
            return _customers(region, found.keyid)
    return ""


def secret_arn(region: str, name: str) -> str:
    """The ARN of a secret, from its name or ARN."""
    from moto.secretsmanager.models import secretsmanager_backends

    secret = secretsmanager_backends[ACCOUNT][region].secrets.get(name)
    return str(secret.arn) if secret else name


def _customers(region: str, name: str | None) -> str:
    if not name or _OF_AWS in name:
        return ""
    return resolved_key(region, name)
