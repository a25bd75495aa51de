"""Patches for moto: features that the sandbox needs and moto lacks. The server's process calls `apply_patches()`.

CloudFormation: moto skips resource types that it does not know, and logs only a warning. The sandbox must deploy the
same templates as users do, so it adds the missing types.

SQS: moto's queue is not safe for threads. `delete_message` replaces the list of messages by a copy without the
deleted ones. Of two simultaneous deletes, one is lost: its message comes back and can never be deleted (500 deletes
by four threads left over 200 messages). A message that is sent at the same time can be lost. With such a queue, a
test could not show that the service neither loses messages nor fails to delete them. A delay that is too long for one
message of a batch fails the whole batch, and the other messages of SQS's answer are missing. A long poll of a FIFO queue
looks once which groups are blocked. While a blocked group has messages, it never waits, so with the queue's lock it keeps
out the delete that would unblock the group.

DynamoDB: moto checks a condition first and then writes attribute by attribute. Another thread may write in between,
and may read an item that is written in part.

Start: see `few_services`.

HTTP: to find the service of a request, moto lists its directory of modules under a lock, for every request.
"""

from functools import wraps
from threading import Lock
from time import monotonic
from typing import Any, Final, Self

import msgspec
from moto import backends
from moto.cloudtrail.models import cloudtrail_backends
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.responses import DynamoHandler
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.exceptions import SQSException
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from jibe_sqs.sandbox.aws.few_services import import_cloudformation

LONGEST_WAIT: Final = 0.5
"""Seconds between two looks of a long poll. A message that becomes visible by itself gives no notice."""


class _UnnamedResource:
    """What moto requires of a CloudFormation resource, for resources without a name and without attributes."""

    def __init__(self, identity: str) -> None:
        self.physical_resource_id = identity

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        del attr
        return False

    def is_created(self) -> bool:
        return True


def _policy(document: dict[str, Any]) -> str:
    return msgspec.json.encode(_without_nulls(document)).decode()


class QueuePolicy(_UnnamedResource, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        properties = cloudformation_json["Properties"]
        policy = _policy(properties["PolicyDocument"])
        for url in properties["Queues"]:
            name = url.rsplit("/", 1)[-1]
            sqs_backends[account_id][region_name].set_queue_attributes(name, {"Policy": policy})
        return cls(resource_name)


class TopicPolicy(_UnnamedResource, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SNS::TopicPolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        properties = cloudformation_json["Properties"]
        policy = _policy(properties["PolicyDocument"])
        for arn in properties["Topics"]:
            sns_backends[account_id][region_name].set_topic_attribute(arn, "policy", policy)
        return cls(resource_name)


class Subscription(_UnnamedResource, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SNS::Subscription"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        del resource_name
        properties = cloudformation_json["Properties"]
        backend = sns_backends[account_id][region_name]
        subscription = backend.subscribe(properties["TopicArn"], properties["Endpoint"], properties["Protocol"])
        # moto treats any text as true, also "false".
        if str(properties.get("RawMessageDelivery", "false")).lower() == "true":
            backend.set_subscription_attributes(subscription.arn, "RawMessageDelivery", "true")
        if redrive := properties.get("RedrivePolicy"):
            backend.set_subscription_attributes(subscription.arn, "RedrivePolicy", _policy(redrive))
        return cls(subscription.arn)


class BucketPolicy(_UnnamedResource, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::S3::BucketPolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        del region_name
        properties = cloudformation_json["Properties"]
        document = properties["PolicyDocument"]
        # moto heeds no conditions: "not without TLS" would deny everything.
        allowed = [each for each in document["Statement"] if each["Effect"] == "Allow"]
        policy = _policy({**document, "Statement": allowed})
        s3_backends[account_id]["aws"].put_bucket_policy(properties["Bucket"], policy.encode())
        return cls(resource_name)


class Alarm(_UnnamedResource, CloudFormationModel):
    """It watches nothing, because moto's SQS has no metrics. Without it, moto warns of each alarm."""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name: str, *_: Any, **__: Any) -> Self:
        return cls(resource_name)


class Trail(_UnnamedResource, CloudFormationModel):
    """moto logs no data events; it remembers the trail."""

    def __init__(self, name: str, arn: str) -> None:
        super().__init__(name)
        self._arn = arn

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudTrail::Trail"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        del attribute_name
        return self._arn

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        del resource_name
        given = cloudformation_json["Properties"]
        backend = cloudtrail_backends[account_id][region_name]
        trail = backend.create_trail(
            given["TrailName"],
            given["S3BucketName"],
            "",
            # moto takes a name only.
            given["SnsTopicName"].rpartition(":")[2],
            _is_true(given["IncludeGlobalServiceEvents"]),
            _is_true(given["IsMultiRegionTrail"]),
            _is_true(given["EnableLogFileValidation"]),
            _is_true(given["IsOrganizationTrail"]),
            "",
            "",
            given.get("KMSKeyId") or "",
            [],
        )
        selectors = [_without_nulls(each) for each in given["AdvancedEventSelectors"] if each]
        backend.put_event_selectors(given["TrailName"], [], selectors)
        if _is_true(given["IsLogging"]):
            backend.start_logging(given["TrailName"])
        return cls(given["TrailName"], trail.arn)


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _without_nulls(value: Any) -> Any:
    """CloudFormation drops what is `AWS::NoValue`; moto makes it null."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value if each is not None] if isinstance(value, list) else value


def apply_patches() -> None:
    """Patch moto. Importing this module already adds the CloudFormation resource types."""
    import_cloudformation()
    _split_default_lists()
    SQSBackend.receive_message = _long_poll(SQSBackend.receive_message)  # type: ignore[method-assign]
    for owner, names in {
        Queue: ("delete_message",),
        SQSBackend: ("receive_message", "change_message_visibility"),
    }.items():
        for name in names:
            setattr(owner, name, _with_queue_locked(getattr(owner, name)))
    DynamoHandler.call_action = _serialised(DynamoHandler.call_action, Lock())  # type: ignore[method-assign]
    SQSBackend.change_message_visibility_batch = _change_visibility_batch  # type: ignore[method-assign,assignment]
    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules


def _split_default_lists() -> None:
    """For moto, the default of a parameter that is a list is one text, with commas. It splits only what a caller gives."""
    from moto.cloudformation.parsing import ResourceMap

    load = ResourceMap.load_parameters

    def load_parameters(resources: Any) -> None:
        load(resources)
        for name, value in resources.resolved_parameters.items():
            if resources._template["Parameters"][name]["Type"] == "CommaDelimitedList":  # noqa: SLF001
                texts = value.split(",") if isinstance(value, str) else value
                resources.resolved_parameters[name] = [text.strip() for text in texts]
        resources._parsed_resources.update(resources.resolved_parameters)  # noqa: SLF001

    ResourceMap.load_parameters = load_parameters


def _with_queue_locked(method: Any) -> Any:
    """`method`, called with its queue's lock held.

    A long poll blocks no other call: it waits on this lock's condition, which releases the lock.
    """

    @wraps(method)
    def locked(owner: Any, *args: Any, **named: Any) -> Any:
        queue = owner if isinstance(owner, Queue) else owner.get_queue(named.get("queue_name") or args[0])
        with queue._messages_lock:  # noqa: SLF001 - moto creates this lock, but does not use it here
            try:
                return method(owner, *args, **named)
            finally:
                if queue.fifo_queue:
                    # The group of the message may be received now.
                    queue._messages_lock.notify_all()  # noqa: SLF001

    return locked


def _long_poll(receive: Any) -> Any:
    """`receive` with a wait that consists of short polls. In between, others can use the queue."""

    @wraps(receive)
    def long_poll(
        backend: SQSBackend,
        queue_name: str,
        count: int,
        wait: float,
        visibility: int,
        attributes: list[str] | None = None,
    ) -> Any:
        lock, end = backend.get_queue(queue_name)._messages_lock, monotonic() + wait  # noqa: SLF001
        while True:
            found = receive(backend, queue_name, count, 0, visibility, attributes)
            left = end - monotonic()
            if found or left <= 0:
                return found
            lock.wait(min(left, LONGEST_WAIT))

    return long_poll


def _change_visibility_batch(
    backend: SQSBackend, queue_name: str, entries: list[dict[str, Any]]
) -> tuple[list[str], list[dict[str, Any]]]:
    done, failed = [], []
    for entry in entries:
        try:
            backend.change_message_visibility(queue_name, entry["ReceiptHandle"], int(entry["VisibilityTimeout"]))
        except SQSException as error:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
        else:
            done.append(entry["Id"])
    return done, failed


def _serialised(method: Any, lock: Any) -> Any:
    @wraps(method)
    def locked(*args: Any, **named: Any) -> Any:
        with lock:
            return method(*args, **named)

    return locked
