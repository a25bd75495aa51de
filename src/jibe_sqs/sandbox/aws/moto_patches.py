"""What moto lacks that the sandbox needs, taught to it by `fill()` in the server's process.

CloudFormation: moto skips the resource types that it doesn't know, with no more than a warning in its own log. Rather than
deploy other templates than a user does, the sandbox teaches it the three that they hold.

SQS: moto's queue isn't safe between threads. `delete_message` copies the list of messages without those that it deletes: of
two deletes at once one is undone, and its message comes back and can't be deleted any more (500 deletes by four threads left
over 200 messages); one sent meanwhile can be lost. Such a queue can't judge a program that promises to do neither.

DynamoDB: moto looks whether a condition holds, and then writes, attribute by attribute. Between the two another thread may write
as well, and what it reads meanwhile is half an item.

HTTP: to find a request's service, moto lists its own directory of modules, at every request, under a lock.
"""

from functools import wraps
from threading import Lock
from typing import Any, Self

import msgspec
from moto import backends
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.responses import DynamoHandler
from moto.sns.models import sns_backends
from moto.sqs.models import Queue, SQSBackend, sqs_backends


class _UnnamedResource:
    """What moto asks of every CloudFormation resource, for one that has neither a name nor attributes."""

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


class QueuePolicy(_UnnamedResource, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Self:
        properties = cloudformation_json["Properties"]
        policy = msgspec.json.encode(properties["PolicyDocument"]).decode()
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
        policy = msgspec.json.encode(properties["PolicyDocument"]).decode()
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
        # moto takes any text for true, "false" too.
        if str(properties.get("RawMessageDelivery", "false")).lower() == "true":
            backend.set_subscription_attributes(subscription.arn, "RawMessageDelivery", "true")
        return cls(subscription.arn)


def apply_patches() -> None:
    """Patch moto. Its CloudFormation knows the resource types as soon as this module is imported."""
    for owner, names in {
        Queue: ("delete_message",),
        SQSBackend: ("receive_message", "change_message_visibility"),
    }.items():
        for name in names:
            setattr(owner, name, _with_queue_locked(getattr(owner, name)))
    DynamoHandler.call_action = _serialised(DynamoHandler.call_action, Lock())  # type: ignore[method-assign]
    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules


def _with_queue_locked(method: Any) -> Any:
    """`method`, with its queue locked. A long poll holds up nobody: it waits on this lock's condition, which lets it go."""

    @wraps(method)
    def locked(owner: Any, *args: Any, **named: Any) -> Any:
        queue = owner if isinstance(owner, Queue) else owner.get_queue(named.get("queue_name") or args[0])
        with queue._messages_lock:  # noqa: SLF001 - the lock that moto has, and doesn't take
            return method(owner, *args, **named)

    return locked


def _serialised(method: Any, lock: Any) -> Any:
    @wraps(method)
    def locked(*args: Any, **named: Any) -> Any:
        with lock:
            return method(*args, **named)

    return locked
