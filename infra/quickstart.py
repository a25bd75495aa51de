"""`python -m infra.quickstart` writes infra/cloudformation/quickstart.yaml: all the other templates as one stack.

Outputs of one template become inputs of the next one. A parameter that the quickstart does not have gets its default, and what
this decides is decided here: a resource or a branch that cannot exist is left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parent / "cloudformation"
QUICKSTART: Final = FOLDER / "quickstart.yaml"
LARGEST: Final = 51_200
"""Bytes that CloudFormation takes in a request. A larger template has to be in S3."""
TEMPLATES: Final = ("central", "region", "trail", "ledger", "configuration", "service")
TRAIL: Final = "jibe-data-events"

EXPOSED: Final[dict[str, tuple[str, ...]]] = {
    "trail": ("DataBucketArns", "LogExpressBuckets"),
    "configuration": ("AccessAnywhereEndpoint", "Buckets", "OwnWritePrincipals"),
    "service": (
        *("Image", "ImageRepositoryArn", "CpuArchitecture", "Subnets", "SecurityGroups", "AssignPublicIp"),
        *("ConfigSecretArn", "AllowCheck", "AlarmTopicArn", "AlertTopicArn", "MinCount", "MaxCount", "Cpu", "Memory"),
    ),
}
"""The parameters of the quickstart, by the template that declares them."""
REQUIRED: Final = ("DataBucketArns",)
"""Parameters that have a default elsewhere, but not here."""
_TRAIL_ARN: Final = {
    "Fn::Sub": f"arn:${{AWS::Partition}}:cloudtrail:${{AWS::Region}}:${{AWS::AccountId}}:trail/{TRAIL}"
}
_ALARM_TOPIC: Final = {"Ref": "AlarmTopicArn"}
GIVEN: Final[dict[str, dict[str, Any]]] = {
    "central": {"AlarmTopicArn": _ALARM_TOPIC},
    "region": {"QueueArn": "central.QueueArn", "TrailArns": [_TRAIL_ARN], "AlarmTopicArn": _ALARM_TOPIC},
    "trail": {"TopicArn": "region.TopicArn", "TrailName": TRAIL, "MultiRegion": "false"},
    "ledger": {"DeletionProtection": "false"},
    "configuration": {"QueueUrl": "central.QueueUrl", "LogBucketName": "trail.LogBucketName"},
    "service": {
        "ConfigArn": "configuration.ConfigArn",
        "QueueArn": "central.QueueArn",
        "DeadLetterQueueArn": "central.DeadLetterQueueArn",
        "LogBucketArns": ["trail.LogBucketArn"],
        "LedgerTableArn": "ledger.LedgerTableArn",
        "DataBucketArns": {"Ref": "DataBucketArns"},
    },
}
"""Inputs that are fixed. `TEMPLATE.OUTPUT` is another template's output."""
LATER: Final = {
    # Nothing is announced before it can arrive.
    "Subscription": ("QueuePolicy",),
    "Trail": ("LogBucketPolicy", "TopicPolicy", "Subscription"),
    "Service": ("Configuration",),
}
"""What the order of the stacks ensures otherwise."""
OUTPUTS: Final = (
    *("ConfigArn", "QueueUrl", "DeadLetterQueueUrl", "TopicArn", "LogBucketName", "TrailArn", "LedgerTableArn"),
    *("ClusterName", "ServiceName", "LogGroupName", "TaskRoleArn"),
)
HEADER: Final = "# `make docs` writes this file from the other templates (infra/quickstart.py). Do not edit it.\n"
DESCRIPTION: Final = "jibe-sqs in one stack, for the buckets of one account and one region: queue, topic, trail, ledger and the Fargate service."
NO_VALUE: Final = {"Ref": "AWS::NoValue"}
_LISTS: Final = ("CommaDelimitedList", "List<")


class Reader(yaml.SafeLoader):
    """`!Ref a` reads as `{"Ref": "a"}`, `!Sub a` as `{"Fn::Sub": "a"}`."""


class Writer(yaml.SafeDumper):
    """The reverse of `Reader`, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _read_function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {name if name in {"Ref", "Condition"} else f"Fn::{name}": value}


def _write_mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.Node:
    name, argument = next(iter(value.items()), ("", None))
    if len(value) == 1 and (name == "Ref" or name.startswith("Fn::")):
        tag = "!" + name.removeprefix("Fn::")
        if isinstance(argument, str):
            return dumper.represent_scalar(tag, argument)
        if isinstance(argument, list):
            return dumper.represent_sequence(tag, argument)
    return dumper.represent_dict(value.items())


Reader.add_multi_constructor("!", _read_function)
Writer.add_representer(dict, _write_mapping)


def quickstart() -> str:
    """The text of the template. Raises `ValueError` if the templates do not fit together."""
    whole: dict[str, Any] = {"Parameters": {}, "Conditions": {}, "Resources": {}, "Outputs": {}}
    outputs: dict[str, Any] = {}
    for name in TEMPLATES:
        part = Part(name, yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Reader), outputs)  # noqa: S506
        for section, found in part.sections().items():
            for key, value in found.items():
                if whole[section].setdefault(key, value) != value and section != "Outputs":
                    raise ValueError(f"{name}.yaml: another template has a different {key} in {section}")
        outputs |= {f"{name}.{key}": each["Value"] for key, each in part.sections()["Outputs"].items()}
    for resource, needed in LATER.items():
        whole["Resources"][resource]["DependsOn"] = list(needed)
    whole["Outputs"] = {name: whole["Outputs"][name] for name in OUTPUTS}
    used = set(_conditions(whole["Resources"])) | set(_conditions(whole["Outputs"]))
    whole["Conditions"] = {name: each for name, each in whole["Conditions"].items() if name in used}
    head = {"AWSTemplateFormatVersion": "2010-09-09", "Description": DESCRIPTION}
    text = HEADER + yaml.dump(head | whole, Dumper=Writer, sort_keys=False, width=130, allow_unicode=True)
    if len(text.encode()) > LARGEST:
        raise ValueError(f"the template has {len(text.encode())} bytes, more than {LARGEST}")
    return text


class Part:
    """One of the templates, with its inputs filled in."""

    def __init__(self, name: str, template: dict[str, Any], outputs: dict[str, Any]) -> None:
        self._template = template
        self._declared = template.get("Parameters", {})
        self._exposed = [each for each in EXPOSED.get(name, ()) if each in self._declared]
        self._inputs: dict[str, Any] = {}
        for parameter, rules in self._declared.items():
            given = GIVEN.get(name, {}).get(parameter)
            if given is not None:
                each = [outputs.get(_key(one), one) for one in (given if isinstance(given, list) else [given])]
                self._inputs[parameter] = each if isinstance(given, list) else each[0]
            elif parameter not in self._exposed:
                if "Default" not in rules:
                    raise ValueError(f"{name}.yaml: {parameter} has no default, and the quickstart does not give it")
                text = str(rules["Default"])
                is_list = rules["Type"].startswith(_LISTS)
                self._inputs[parameter] = [one.strip() for one in text.split(",")] if is_list else text

    def sections(self) -> dict[str, dict[str, Any]]:
        """Parameters, conditions, resources and outputs that remain."""
        declared = {name: dict(self._declared[name]) for name in self._exposed}
        for name in REQUIRED:
            if name in declared:
                declared[name].pop("Default", None)
        conditions = {name: self._filled(each) for name, each in self._template.get("Conditions", {}).items()}
        return {
            "Parameters": declared,
            "Conditions": {name: each for name, each in conditions.items() if self._truth(each) is None},
            "Resources": dict(self._remaining("Resources")),
            "Outputs": dict(self._remaining("Outputs")),
        }

    def _remaining(self, section: str) -> Iterator[tuple[str, Any]]:
        for name, each in self._template.get(section, {}).items():
            truth = self._condition(each["Condition"]) if "Condition" in each else True
            if truth is not False:
                kept = {key: value for key, value in each.items() if key != "Condition" or truth is None}
                yield name, self._filled(kept)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for each in value if (found := self._filled(each)) != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" and argument in self._inputs:
                return self._inputs[argument]
            if name == "Fn::Sub":
                return self._text(argument)
            if name == "Fn::If" and (truth := self._condition(argument[0])) is not None:
                return self._filled(argument[1] if truth else argument[2])
            if name == "Fn::If":
                # A branch may be no value.
                return {name: [argument[0], self._filled(argument[1]), self._filled(argument[2])]}
        return {key: found for key, each in value.items() if (found := self._filled(each)) != NO_VALUE}

    def _text(self, argument: Any) -> Any:
        """Fn::Sub, with the inputs in its text."""
        text, local = (argument, {}) if isinstance(argument, str) else argument
        local = {name: self._filled(each) for name, each in local.items()}

        def found(match: re.Match[str]) -> str:
            name = match[1]
            value = local.get(name, self._inputs.get(name))
            if value is None or not _is_simple(value):
                if value is not None:
                    local[name] = value
                return match[0]
            local.pop(name, None)
            return value if isinstance(value, str) else f"${{{_named(value)}}}"

        text = re.sub(r"\$\{([^}!]+)\}", found, text)
        if local:
            return {"Fn::Sub": [text, local]}
        return {"Fn::Sub": text} if "${" in text else text

    def _condition(self, name: str) -> bool | None:
        """True or False if the inputs decide the condition, else None."""
        return self._truth(self._filled(self._template["Conditions"][name]))

    def _truth(self, value: Any) -> bool | None:
        ((name, argument),) = value.items()
        if name == "Condition":
            return self._condition(argument)
        if name == "Fn::Equals":
            one, other = map(_constant, argument)
            if "" in (one, other) and UNKNOWN not in (one, other) and GIVEN_LATER in (one, other):
                return False
            return None if {UNKNOWN, GIVEN_LATER} & {one, other} else bool(one == other)
        each = [self._truth(one) for one in argument]
        if name == "Fn::Not":
            return None if each[0] is None else not each[0]
        decides = name == "Fn::Or"
        if decides in each:
            return bool(decides)
        return None if None in each else not decides


UNKNOWN: Final = object()
"""A value that depends on a parameter."""
GIVEN_LATER: Final = object()
"""A value that only the deployment knows. It is not empty."""


def _constant(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return str(value)
    if isinstance(value, dict) and len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Fn::Join":
            each = [_constant(one) for one in argument[1]] if isinstance(argument[1], list) else [UNKNOWN]
            unclear = UNKNOWN if UNKNOWN in each else GIVEN_LATER
            return argument[0].join(each) if all(isinstance(one, str) for one in each) else unclear
        if name in ("Fn::GetAtt", "Fn::Sub"):
            return GIVEN_LATER
        if name == "Ref":
            return UNKNOWN if any(argument in names for names in EXPOSED.values()) else GIVEN_LATER
    return UNKNOWN


def _is_simple(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and value.keys() <= {"Ref", "Fn::GetAtt"})


def _named(value: dict[str, Any]) -> str:
    ((_, argument),) = value.items()
    return argument if isinstance(argument, str) else ".".join(argument)


def _key(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _conditions(value: Any) -> Iterator[str]:
    """The conditions that a part of a template uses."""
    if isinstance(value, list):
        for each in value:
            yield from _conditions(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == "Fn::If":
                yield each[0]
            if name == "Condition" and isinstance(each, str):
                yield each
            yield from _conditions(each)


if __name__ == "__main__":
    QUICKSTART.write_text(quickstart(), encoding="utf-8")
