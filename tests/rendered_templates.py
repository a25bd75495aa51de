"""Renders a part of a CloudFormation template as AWS does: only the functions that the templates' policies use."""

import re
from pathlib import Path
from typing import Any

import yaml

NO_VALUE = "AWS::NoValue"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "111122223333",
    NO_VALUE: NO_VALUE,
}


class _Template(yaml.SafeLoader):
    """`!Ref a` reads as `{"Ref": "a"}`."""


def _function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Template.add_multi_constructor("!", _function)


class RenderedTemplate:
    """A template with the values of its parameters. Raises `KeyError` for a parameter without a value or a default."""

    def __init__(self, path: Path, parameters: dict[str, str]) -> None:
        # The loader builds only plain values and the functions above.
        self._template = yaml.load(path.read_text(), _Template)
        self._given = parameters

    def properties(self, resource: str) -> Any:
        """The properties of a resource."""
        return self._value(self._template["Resources"][resource]["Properties"])

    def _value(self, part: Any) -> Any:
        if isinstance(part, list):
            return [value for each in part if (value := self._value(each)) != NO_VALUE]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((name, argument),) = part.items()
            if name in ("Ref", "Sub", "If", "Join", "Split", "Select", "Equals", "Not"):
                return getattr(self, f"_{name.lower()}")(argument)
        return {name: value for name, each in part.items() if (value := self._value(each)) != NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name in PSEUDO:
            return PSEUDO[name]
        parameter = self._template["Parameters"][name]
        value = self._given[name] if name in self._given else parameter["Default"]
        is_list = parameter["Type"] == "CommaDelimitedList" or parameter["Type"].startswith("List<")
        return [each for each in value.split(",") if each] if is_list else value

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        values = {name: self._value(each) for name, each in own.items()}
        return re.sub(r"\$\{([^}]+)\}", lambda found: values.get(found[1]) or self._ref(found[1]), text)

    def _if(self, argument: list[Any]) -> Any:
        condition, yes, no = argument
        return self._value(yes if self._value(self._template["Conditions"][condition]) else no)

    def _join(self, argument: list[Any]) -> str:
        separator, parts = argument
        return separator.join(self._value(parts))

    def _split(self, argument: list[Any]) -> list[str]:
        separator, text = argument
        return self._value(text).split(separator)

    def _select(self, argument: list[Any]) -> Any:
        index, values = argument
        return self._value(values)[int(index)]

    def _equals(self, argument: list[Any]) -> bool:
        one, other = map(self._value, argument)
        return one == other

    def _not(self, argument: list[Any]) -> bool:
        (condition,) = argument
        return not self._value(condition)
