"""CloudFormation for tests: stacks of one region, with change sets, as `aws cloudformation deploy` uses them.

moto's CloudFormation skips a resource type that it does not know, and a reference that it cannot resolve. Here each is an
error, so that a test does not pass without the resource.
"""

import secrets
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# These register the types that they know.
from tests.deployment import pipe_resources, service_resources  # noqa: F401
from tests.deployment.resources import KINDS, SET_AGAIN, Context, Created
from tests.deployment.templates import Refused, Values, in_order, parameters, read

from jibe_sqs.sandbox.aws.deployment import ACCOUNT

UNCHANGED = "The submitted information didn't contain changes. Submit different information to create a change set."
RETAINED = ("Retain", "RetainExceptOnCreate")


@dataclass
class Stack:
    name: str
    identity: str
    status: str = "REVIEW_IN_PROGRESS"
    reason: str = ""
    given: dict[str, str] = field(default_factory=dict)
    text: str = ""
    created: dict[str, tuple[Created, dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    """Logical name -> the resource, its resolved properties, and its part of the template."""
    outputs: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """The values of the parameters."""
    events: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Logical name, type, status, reason."""


@dataclass
class ChangeSet:
    identity: str
    stack: Stack
    text: str
    given: dict[str, str]
    status: str
    reason: str
    is_new: bool


class Stacks:
    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint, self._region = endpoint, region
        self._stacks: dict[str, Stack] = {}
        self._changes: dict[str, ChangeSet] = {}
        self._deleted: dict[str, Stack] = {}

    def stack(self, name: str) -> Stack:
        for stack in (*self._stacks.values(), *self._deleted.values()):
            if name in (stack.identity, stack.name) and (stack.name in self._stacks or name == stack.identity):
                return stack
        raise Refused(f"Stack with id {name} does not exist")

    def all(self) -> list[Stack]:
        return list(self._stacks.values())

    def prepare(
        self,
        name: str,
        change: str,
        text: str,
        given: Mapping[str, str | None],
        capabilities: list[str],
        *,
        is_new: bool,
    ) -> ChangeSet:
        """Make a change set. A parameter without a value keeps its previous one."""
        stack = self._stacks.setdefault(name, Stack(name, self._arn("stack", name))) if is_new else self.stack(name)
        kept = {key: stack.given.get(key) if value is None else value for key, value in given.items()}
        found = {key: value for key, value in kept.items() if value is not None}
        _check_capabilities(read(text), capabilities)
        parameters(read(text), found)
        is_same = not is_new and (text, found) == (stack.text, stack.given)
        status, reason = ("FAILED", UNCHANGED) if is_same else ("CREATE_COMPLETE", "")
        made = ChangeSet(self._arn("changeSet", change), stack, text, found, status, reason, is_new)
        self._changes[made.identity] = made
        return made

    def change(self, identity: str) -> ChangeSet:
        return self._changes[identity]

    def execute(self, identity: str) -> None:
        change = self._changes[identity]
        stack, word = change.stack, "CREATE" if change.is_new else "UPDATE"
        try:
            self._apply(stack, change.text, change.given)
            stack.status, stack.reason = f"{word}_COMPLETE", ""
        except (Refused, ClientError, BotoCoreError, KeyError, TypeError, ValueError) as error:
            traceback.print_exc(file=sys.stderr)
            stack.status, stack.reason = f"{word}_FAILED" if word == "UPDATE" else "ROLLBACK_COMPLETE", repr(error)
            stack.events.append((stack.name, "AWS::CloudFormation::Stack", f"{word}_FAILED", repr(error)))

    def delete(self, name: str) -> None:
        """A stack that does not exist is deleted already."""
        stack = self._stacks.get(name)
        if stack is None:
            return
        try:
            for logical in list(reversed(stack.created)):
                made, _, part = stack.created[logical]
                if part.get("DeletionPolicy") not in RETAINED:
                    made.delete()
                del stack.created[logical]
        except (ClientError, BotoCoreError) as error:
            stack.status, stack.reason = "DELETE_FAILED", repr(error)
            return
        stack.status = "DELETE_COMPLETE"
        self._deleted[stack.identity] = self._stacks.pop(name)

    def _apply(self, stack: Stack, text: str, given: dict[str, str]) -> None:
        template = read(text)
        stack.text, stack.given = text, given
        stack.values = parameters(template, given)
        values = Values(template, {**stack.values, **self._pseudo(stack)})
        resources = {name: part for name, part in template["Resources"].items() if values.exists(part)}
        for logical in in_order(resources):
            part = resources[logical]
            made = self._made(stack, logical, part, values.of(part.get("Properties", {})))
            values.add(logical, made.reference, made.attributes)
        for logical in [name for name in reversed(stack.created) if name not in resources]:
            stack.created.pop(logical)[0].delete()
        outputs = {name: part for name, part in template.get("Outputs", {}).items() if values.exists(part)}
        stack.outputs = {name: str(values.of(part["Value"])) for name, part in outputs.items()}

    def _made(self, stack: Stack, logical: str, part: dict[str, Any], properties: dict[str, Any]) -> Created:
        type_ = part["Type"]
        if type_ not in KINDS:
            raise Refused(f"{logical}: unknown resource type {type_}")
        context = Context(self._endpoint, self._region, stack.name, logical)
        old = stack.created.get(logical)
        if old and old[1] == properties:
            return old[0]
        if old and type_ not in SET_AGAIN:
            old[0].delete()
        made = KINDS[type_](context, dict(properties))
        stack.created[logical] = (made, properties, part)
        stack.events.append((logical, type_, "UPDATE_COMPLETE" if old else "CREATE_COMPLETE", ""))
        return made

    def _pseudo(self, stack: Stack) -> dict[str, str]:
        return {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self._region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack.name,
            "AWS::StackId": stack.identity,
        }

    def _arn(self, kind: str, name: str) -> str:
        unique = f"{time.time_ns():x}-{secrets.token_hex(4)}"
        return f"arn:aws:cloudformation:{self._region}:{ACCOUNT}:{kind}/{name}/{unique}"


def _check_capabilities(template: dict[str, Any], given: list[str]) -> None:
    roles = [part for part in template["Resources"].values() if part["Type"].startswith("AWS::IAM::")]
    named = [part for part in roles if {"RoleName", "ManagedPolicyName"} & part["Properties"].keys()]
    needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    if roles and not {needed, "CAPABILITY_NAMED_IAM"} & set(given):
        raise Refused(f"Requires capabilities : [{needed}]")


def physical(stack: Stack) -> Iterator[tuple[str, str, str]]:
    """Logical name, physical id and type of each resource."""
    for logical, (made, _, part) in stack.created.items():
        yield logical, made.reference, part["Type"]
