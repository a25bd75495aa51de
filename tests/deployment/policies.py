"""Whether a resource's policy allows a service of AWS an action, as the service itself would ask."""

from fnmatch import fnmatchcase
from typing import Any


def allows(policy: dict[str, Any], service: str, action: str, resource: str, context: dict[str, str]) -> bool:
    """A Deny that matches decides; otherwise one Allow must match. `context`: the keys of conditions."""
    matching = [
        each["Effect"]
        for each in policy["Statement"]
        if _is_for(each["Principal"], service)
        and any(fnmatchcase(action.lower(), each_action.lower()) for each_action in _listed(each["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in _listed(each["Resource"]))
        and all(
            _holds(operator, key, _listed(values), context)
            for operator, keys in each.get("Condition", {}).items()
            for key, values in keys.items()
        )
    ]
    return "Allow" in matching and "Deny" not in matching


def _is_for(principal: Any, service: str) -> bool:
    return principal == "*" or service in _listed(principal.get("Service", []))


def _holds(operator: str, key: str, values: list[str], context: dict[str, str]) -> bool:
    value = {name.lower(): each for name, each in context.items()}.get(key.lower())
    if operator.endswith("IfExists") and value is None:
        return True
    operator = operator.removesuffix("IfExists")
    if operator.startswith(("StringNot", "ArnNot")):
        return value is None or not _holds(operator.replace("Not", "", 1), key, values, context)
    if value is None:
        return False
    match operator:
        case "StringEquals" | "ArnEquals" | "Bool":
            return any(str(each).lower() == value.lower() for each in values) if operator == "Bool" else value in values
        case "StringLike" | "ArnLike":
            return any(fnmatchcase(value, each) for each in values)
        case _:
            raise NotImplementedError(f"the condition operator {operator}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
