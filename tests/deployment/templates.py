"""A CloudFormation template, and the values of its functions. What cannot be resolved is an error."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from infra import quickstart

NO_VALUE = object()
PSEUDO_PARAMETERS = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "111122223333",
    "AWS::StackName": "jibe",
}
LISTS = ("CommaDelimitedList", "List<")


class Refused(Exception):
    """CloudFormation's answer to a wrong template or wrong parameters."""


class Reader(quickstart.Reader):
    """CloudFormation's YAML: `!Ref a` reads as `{"Ref": "a"}`, `!Sub a` as `{"Fn::Sub": "a"}`."""


# A date is a text in CloudFormation.
Reader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def read(text: str) -> dict[str, Any]:
    return yaml.load(text, Reader)


def parameters(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The value of each parameter: a text, or a list of texts. Raises `Refused`."""
    declared = template.get("Parameters", {})
    if unknown := sorted(given.keys() - declared.keys()):
        raise Refused(f"Parameters: {unknown} do not exist in the template")
    found = {}
    for name, rules in declared.items():
        if name not in given and "Default" not in rules:
            raise Refused(f"Parameters: [{name}] must have values")
        text = given.get(name, str(rules.get("Default")))
        is_list = rules["Type"].startswith(LISTS)
        if rules["Type"] not in ("String", "Number") and not is_list:
            raise Refused(f"{name}: the type {rules['Type']} is not supported")
        each = [part.strip() for part in text.split(",")] if is_list else [text]
        for value in each:
            _check(name, value, rules)
        found[name] = each if is_list else text
    return found


def _check(name: str, value: str, rules: Mapping[str, Any]) -> None:
    wrong = f"Parameter {name} has the value {value!r}, which is not allowed: "
    if "AllowedValues" in rules and value not in map(str, rules["AllowedValues"]):
        raise Refused(wrong + f"AllowedValues {rules['AllowedValues']}")
    if "AllowedPattern" in rules and not re.fullmatch(rules["AllowedPattern"], value):
        raise Refused(wrong + f"AllowedPattern {rules['AllowedPattern']}")
    if rules["Type"] == "Number" and not rules.get("MinValue", -1e18) <= float(value) <= rules.get("MaxValue", 1e18):
        raise Refused(wrong + "MinValue, MaxValue")
    if not rules.get("MinLength", 0) <= len(value) <= rules.get("MaxLength", 1 << 20):
        raise Refused(wrong + "MinLength, MaxLength")


class Values:
    """Resolves functions. `names`: the values of parameters and of `AWS::…`. Resources are added when they exist:
    the value of `Ref`, and of each attribute.
    """

    def __init__(self, template: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        self._template = template
        self._names = dict(names)
        self._attributes: dict[str, Mapping[str, Any]] = {}

    def add(self, resource: str, reference: str, attributes: Mapping[str, Any]) -> None:
        self._names[resource] = reference
        self._attributes[resource] = attributes

    def exists(self, part: Mapping[str, Any]) -> bool:
        """Whether the condition of a resource or of an output is true."""
        return "Condition" not in part or self.condition(part["Condition"])

    def condition(self, name: str) -> bool:
        conditions = self._template.get("Conditions", {})
        if name not in conditions:
            raise Refused(f"there is no condition {name}")
        return bool(self.of(conditions[name]))

    def of(self, value: Any) -> Any:
        """The value, without functions."""
        if isinstance(value, list):
            return [found for each in value if (found := self.of(each)) is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in FUNCTIONS:
                return FUNCTIONS[name](self, argument)
            if name.startswith("Fn::"):
                raise Refused(f"the function {name} is not supported")
        return {key: found for key, each in value.items() if (found := self.of(each)) is not NO_VALUE}

    def ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name not in self._names:
            raise Refused(f"Unresolved resource dependencies [{name}]")
        return self._names[name]

    def attribute(self, argument: Any) -> Any:
        resource, name = argument.split(".", 1) if isinstance(argument, str) else argument
        if name not in self._attributes.get(resource, {}):
            raise Refused(f"Unresolved attribute {name} of the resource {resource}")
        return self._attributes[resource][name]

    def text(self, argument: Any) -> str:
        """Fn::Sub."""
        template, local = (argument, {}) if isinstance(argument, str) else argument
        local = {name: self.of(each) for name, each in local.items()}

        def found(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            value = local[name] if name in local else self.attribute(name) if "." in name else self.ref(name)
            if not isinstance(value, str | int):
                raise Refused(f"Fn::Sub: {name} is not a text")
            return str(value)

        return re.sub(r"\$\{([^}]+)\}", found, template)


def _same(values: Values, argument: Any) -> bool:
    one, other = values.of(argument)
    return str(one) == str(other)


def _map(values: Values, argument: Any) -> Any:
    name, *keys = values.of(argument)
    found: Any = values._template["Mappings"][name]
    for key in keys:
        found = found[key]
    return found


FUNCTIONS: dict[str, Callable[[Values, Any], Any]] = {
    "Ref": Values.ref,
    "Condition": Values.condition,
    "Fn::GetAtt": Values.attribute,
    "Fn::Sub": Values.text,
    "Fn::If": lambda values, each: values.of(each[1] if values.condition(each[0]) else each[2]),
    "Fn::Join": lambda values, each: each[0].join(values.of(each[1])),
    "Fn::Split": lambda values, each: values.of(each[1]).split(each[0]),
    "Fn::Select": lambda values, each: values.of(each[1])[int(values.of(each[0]))],
    "Fn::FindInMap": _map,
    "Fn::Equals": _same,
    "Fn::Not": lambda values, each: not values.of(each[0]),
    "Fn::And": lambda values, each: all(values.of(each)),
    "Fn::Or": lambda values, each: any(values.of(each)),
}


def properties(path: Path, resource: str, given: Mapping[str, str]) -> Any:
    """The properties of one resource of the template, with these parameters. Other resources are `NAME` and `NAME.Arn`."""
    template = read(path.read_text(encoding="utf-8"))
    values = Values(template, PSEUDO_PARAMETERS | parameters(template, given))
    for name in template["Resources"]:
        values.add(name, name, {"Arn": f"{name}.Arn"})
    return values.of(template["Resources"][resource]["Properties"])


def references(value: Any) -> Iterator[str]:
    """The names that a part of a template refers to."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        for name, argument in value.items():
            if name == "Ref":
                yield argument
            elif name == "Fn::GetAtt":
                yield argument.split(".")[0] if isinstance(argument, str) else argument[0]
            elif name == "Fn::Sub":
                template, local = (argument, {}) if isinstance(argument, str) else argument
                used = re.findall(r"\$\{([^!}.]+)[^}]*\}", template)
                yield from (each for each in used if each not in local)
                yield from references(list(local.values()))
            else:
                yield from references(argument)


def in_order(resources: Mapping[str, Any]) -> list[str]:
    """The resources, each after those that it needs. Of those that could be created now, policies come last: a resource
    that needs a policy and does not depend on it is created too early, as it may happen on AWS.
    """
    needs = {
        name: {*references(each), *_as_list(each.get("DependsOn", []))} & (resources.keys() - {name})
        for name, each in resources.items()
    }
    done: list[str] = []
    while len(done) < len(resources):
        ready = [name for name in resources if name not in done and needs[name] <= set(done)]
        if not ready:
            raise Refused(f"Circular dependency between resources: {sorted(resources.keys() - set(done))}")
        done.append(min(ready, key=lambda name: resources[name]["Type"].endswith("Policy")))
    return done


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
