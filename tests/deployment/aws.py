"""`python -m tests.deployment.aws`: the sandbox's AWS, with a CloudFormation that knows all that the templates use."""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import RLock
from typing import Any
from xml.sax.saxutils import escape

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from tests.deployment.stacks import ChangeSet, Stack, Stacks, physical
from tests.deployment.templates import Refused, read
from werkzeug.wrappers import Request

from jibe_sqs.sandbox.aws.server import Application, serve
from jibe_sqs.sandbox.parent_watch import exit_with_parent

HOST = re.compile(r"cloudformation\.([a-z0-9-]+)\.amazonaws\.com")


class Aws(Application):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._regions: dict[str, Stacks] = {}
        self._lock = RLock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not (named := HOST.fullmatch(str(environ.get("HTTP_HOST", "")))):
            return super().__call__(environ, start_response)
        endpoint = "http://127.0.0.1:{}".format(environ["werkzeug.socket"].getsockname()[1])
        with self._lock:
            stacks = self._regions.setdefault(named[1], Stacks(endpoint, named[1]))
            status, body = _answer(stacks, dict(Request(environ).form.items()))
        start_response(status, [("Content-Type", "text/xml")])
        return [body.encode()]


def _answer(stacks: Stacks, form: dict[str, str]) -> tuple[str, str]:
    action = form["Action"]
    try:
        if action not in ACTIONS:
            raise Refused(f"the action {action} is not supported")
        found = ACTIONS[action](stacks, form)
    except Refused as error:
        wrong = _xml({"Error": {"Type": "Sender", "Code": "ValidationError", "Message": str(error)}})
        return "400 Bad Request", f"<ErrorResponse>{wrong}</ErrorResponse>"
    result = f"<{action}Result>{_xml(found)}</{action}Result>"
    return "200 OK", f"<{action}Response>{result}</{action}Response>"


def _describe(stacks: Stacks, form: dict[str, str]) -> Any:
    found = [stacks.stack(form["StackName"])] if "StackName" in form else stacks.all()
    return {"Stacks": [_stack(each) for each in found]}


def _stack(stack: Stack) -> dict[str, Any]:
    given = {name: ",".join(value) if isinstance(value, list) else value for name, value in stack.values.items()}
    return {
        "StackName": stack.name,
        "StackId": stack.identity,
        "CreationTime": "2026-01-01T00:00:00Z",
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason,
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in stack.outputs.items()],
    }


def _create_change_set(stacks: Stacks, form: dict[str, str]) -> Any:
    given = {
        each["ParameterKey"]: None if each.get("UsePreviousValue") == "true" else each["ParameterValue"]
        for each in _members(form, "Parameters")
    }
    capabilities = [each[""] for each in _members(form, "Capabilities")]
    is_new = form["ChangeSetType"] == "CREATE"
    if len(form["TemplateBody"].encode()) > 51_200:
        raise Refused("Member must have length less than or equal to 51200")
    change = stacks.prepare(
        form["StackName"], form["ChangeSetName"], form["TemplateBody"], given, capabilities, is_new=is_new
    )
    return {"Id": change.identity, "StackId": change.stack.identity}


def _describe_change_set(stacks: Stacks, form: dict[str, str]) -> Any:
    change: ChangeSet = stacks.change(form["ChangeSetName"])
    return {
        "ChangeSetId": change.identity,
        "StackId": change.stack.identity,
        "Status": change.status,
        "StatusReason": change.reason,
    }


def _resources(stacks: Stacks, form: dict[str, str]) -> Any:
    found = physical(stacks.stack(form["StackName"]))
    names = ("LogicalResourceId", "PhysicalResourceId", "ResourceType")
    return {"StackResourceSummaries": [dict(zip(names, each, strict=True)) for each in found]}


def _events(stacks: Stacks, form: dict[str, str]) -> Any:
    names = ("LogicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason")
    events = stacks.stack(form["StackName"]).events
    return {"StackEvents": [dict(zip(names, each, strict=True)) for each in reversed(events)]}


def _template_summary(stacks: Stacks, form: dict[str, str]) -> Any:
    """The parameters of a stack's template. The AWS CLI asks for them before it updates the stack."""
    declared = read(stacks.stack(form["StackName"]).text).get("Parameters", {})
    return {"Parameters": [{"ParameterKey": name, "ParameterType": each["Type"]} for name, each in declared.items()]}


ACTIONS: dict[str, Callable[[Stacks, dict[str, str]], Any]] = {
    "DescribeStacks": _describe,
    "DescribeStackEvents": _events,
    "ListStackResources": _resources,
    "GetTemplateSummary": _template_summary,
    "CreateChangeSet": _create_change_set,
    "DescribeChangeSet": _describe_change_set,
    "ExecuteChangeSet": lambda stacks, form: stacks.execute(form["ChangeSetName"]) or {},
    "DeleteStack": lambda stacks, form: stacks.delete(form["StackName"]) or {},
}


def _members(form: dict[str, str], name: str) -> list[dict[str, str]]:
    """The list `NAME.member.1.…`, as AWS's query protocol writes it."""
    found: dict[int, dict[str, str]] = {}
    for key, value in form.items():
        if match := re.fullmatch(rf"{name}\.member\.(\d+)\.?(.*)", key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [found[number] for number in sorted(found)]


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(each)}</{name}>" for name, each in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    return escape(str(value))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--exit-with-parent", action="store_true")
    options = parser.parse_args()
    if options.exit_with_parent:
        exit_with_parent()
    # moto takes a statement of a bucket policy whose condition is false for a denial.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
    serve(certificates_in=options.certificates, application=Aws)


if __name__ == "__main__":
    main()
