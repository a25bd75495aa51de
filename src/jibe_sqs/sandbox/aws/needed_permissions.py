"""The permissions that a call to AWS needs, and the resources on which it needs them.

Source: Service Authorization Reference, "Actions, resources, and condition keys"; for S3 also its API reference, which
names the permissions of each operation. What is not listed here needs the action with the operation's name, on `*`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from moto.s3.responses import ACTION_MAP
from moto.utilities.utils import get_partition

from jibe_sqs.sandbox.aws.aws_calls import AwsCall, Need, SignedRequest
from jibe_sqs.sandbox.aws.customer_keys import (
    key_of_object,
    key_of_parameter,
    key_of_queue,
    key_of_secret,
    key_of_table,
    key_of_topic,
    resolved_key,
    secret_arn,
)
from jibe_sqs.sandbox.aws.deployment import ACCOUNT
from jibe_sqs.sandbox.aws.regions import stored_bucket

_PREFIXES: Final = {"monitoring": "cloudwatch"}
"""Services whose actions have another prefix than the service's name in signatures."""
_FREE: Final = frozenset({("sts", "GetCallerIdentity"), ("sts", "AssumeRoleWithWebIdentity")})
_BATCHES: Final = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "PublishBatch": "Publish",
}
"""A batch needs the permission of the single call."""
_WITHOUT_RESOURCE: Final = frozenset({
    *(("sns", each) for each in ("GetSubscriptionAttributes", "ListSubscriptions", "ListTopics", "Unsubscribe")),
    *(("cloudtrail", each) for each in ("DescribeTrails", "ListPublicKeys", "ListTrails")),
})  # fmt: skip
_OF_BUCKET: Final = {"HeadBucket": "ListBucket"}
"""moto's names of actions on buckets that are no permissions."""
_CRYPTED: Final = {"SendMessage": ("GenerateDataKey", "Decrypt"), "Publish": ("GenerateDataKey", "Decrypt")}
"""What an operation does with the customer managed key that encrypts its resource. All others only decrypt."""
_DECRYPTING: Final = frozenset({
    *(("sqs", each) for each in ("ReceiveMessage", "SendMessage")),
    ("sns", "Publish"),
    ("secretsmanager", "GetSecretValue"),
    ("ssm", "GetParameter"),
})  # fmt: skip
"""Operations for which AWS uses that key with the caller's permissions. DynamoDB does so for all reads and writes."""


def aws_call(request: SignedRequest) -> AwsCall:
    """The call of this request, without the status of its answer."""
    is_s3 = request.service == "s3"
    return AwsCall(
        access_key=request.access_key,
        service=request.service,
        operation=_shown(request) if is_s3 else request.operation,
        region=request.region,
        needs=tuple(_of_s3(request) if is_s3 else _of_service(request)),
    )


def _of_service(request: SignedRequest) -> Iterator[Need]:
    service, operation = request.service, _BATCHES.get(request.operation, request.operation)
    if (service, operation) in _FREE:
        return
    context = _context(request)
    resources = ["*"]
    if (service, operation) not in _WITHOUT_RESOURCE and service in _RESOURCES:
        resources = _RESOURCES[service](request) or ["*"]
    for resource in resources:
        yield Need(f"{_PREFIXES.get(service, service)}:{operation}", resource, context)
        if service == "dynamodb" or (service, operation) in _DECRYPTING:
            yield from _of_key(request, _KEYS[service](request.region, resource), operation)


def _of_s3(request: SignedRequest) -> Iterator[Need]:
    context = _context(request)
    partition = get_partition(request.region)
    of_bucket = f"arn:{partition}:s3:::{request.bucket}"
    if not request.bucket:
        yield Need("s3:ListAllMyBuckets", "*", context)
        return
    action = _s3_action(request)
    if not request.key:
        listed = {"s3:prefix": request.parameters.get("prefix", "")} if action == "ListBucket" else {}
        yield Need(f"s3:{action}", of_bucket, context | listed)
        return
    yield Need(f"s3:{action}", f"{of_bucket}/{request.key}", context)
    bucket = stored_bucket(request.host, request.bucket)
    if request.method not in ("GET", "HEAD") or bucket is None:
        return
    stored = bucket.keys.get(request.key)
    if stored is None:
        # Without this permission, S3 answers 403 and not 404 for an object that does not exist.
        yield Need("s3:ListBucket", of_bucket, context)
    else:
        yield from _of_key(request, key_of_object(bucket, stored), action)


def _of_key(request: SignedRequest, key: str, operation: str) -> Iterator[Need]:
    if key:
        via = {"kms:ViaService": f"{request.service}.{request.region}.amazonaws.com"}
        for action in _CRYPTED.get(operation, ("Decrypt",)):
            yield Need(f"kms:{action}", key, _context(request) | via)


def _s3_action(request: SignedRequest) -> str:
    by_part = ACTION_MAP["KEY" if request.key else "BUCKET"].get(request.method, {})
    found = [action for part, action in by_part.items() if part in request.parameters]
    if request.key and request.method == "HEAD" and "versionId" in request.parameters:
        found = ["GetObjectVersion"]
    action = found[-1] if found else by_part.get("DEFAULT", request.method)
    return str(_OF_BUCKET.get(action, action))


def _shown(request: SignedRequest) -> str:
    what = "object" if request.key else "bucket" if request.bucket else "buckets"
    named = [part for part in request.parameters if part in _SUB_RESOURCES]
    return " ".join([request.method, what, *named])


_SUB_RESOURCES: Final = frozenset(
    part for of_what in ACTION_MAP.values() for by_part in of_what.values() for part in by_part if part != "DEFAULT"
)


def _context(request: SignedRequest) -> dict[str, str]:
    return {"aws:RequestedRegion": request.region, "aws:SecureTransport": "true", "aws:SourceAccount": ACCOUNT}


def _arn(request: SignedRequest, rest: str, service: str = "") -> str:
    return f"arn:{get_partition(request.region)}:{service or request.service}:{request.region}:{ACCOUNT}:{rest}"


def _queue(request: SignedRequest) -> list[str]:
    """A queue's URL ends in its account and its name."""
    parameters = request.parameters
    if url := parameters.get("QueueUrl"):
        account, name = url.rsplit("/", 2)[1:]
    else:
        account, name = parameters.get("QueueOwnerAWSAccountId") or ACCOUNT, parameters.get("QueueName", "*")
    return [f"arn:{get_partition(request.region)}:sqs:{request.region}:{account}:{name}"]


def _tables(request: SignedRequest) -> list[str]:
    parameters = request.parameters
    names = [parameters["TableName"]] if "TableName" in parameters else [*parameters.get("RequestItems", {})]
    return [name if name.startswith("arn:") else _arn(request, f"table/{name}") for name in names]


def _parameter(request: SignedRequest) -> list[str]:
    name = request.parameters.get("Name", "")
    return [name if name.startswith("arn:") else _arn(request, f"parameter/{name.removeprefix('/')}")]


def _named(*names: str) -> Callable[[SignedRequest], list[str]]:
    """The ARNs in these parameters."""
    return lambda request: [str(request.parameters[name]) for name in names if name in request.parameters]


_RESOURCES: Final[Mapping[str, Callable[[SignedRequest], list[str]]]] = {
    "sqs": _queue,
    "dynamodb": _tables,
    "ssm": _parameter,
    "secretsmanager": lambda request: [secret_arn(request.region, request.parameters.get("SecretId", ""))],
    "sns": _named("TopicArn"),
    "kms": lambda request: [resolved_key(request.region, str(request.parameters.get("KeyId", "*")))],
    "sts": _named("RoleArn"),
    "cloudtrail": _named("Name", "TrailName"),
    "cloudtrail-data": _named("channelArn"),
}
_KEYS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "sqs": key_of_queue,
    "sns": key_of_topic,
    "dynamodb": key_of_table,
    "secretsmanager": key_of_secret,
    "ssm": key_of_parameter,
}
