"""Properties of CloudFormation resources as arguments of AWS's operations. The names differ in case only, and the values
in type: CloudFormation takes a text for a number, and an object for a JSON document. An unknown property is an error.
"""

import json
from typing import Any

from tests.deployment.templates import Refused


def arguments(client: Any, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    return shaped(properties, model.input_shape, operation)


def shaped(value: Any, shape: Any, where: str) -> Any:
    match shape.type_name:
        case "structure":
            members = {_key(name): name for name in shape.members}
            if unknown := [name for name in value if _key(name) not in members]:
                raise Refused(f"{where}: unknown properties {unknown}")
            named = {members[_key(name)]: each for name, each in value.items()}
            return {name: shaped(each, shape.members[name], f"{where}.{name}") for name, each in named.items()}
        case "list":
            return [shaped(each, shape.member, where) for each in (value if isinstance(value, list) else [value])]
        case "map":
            return {name: shaped(each, shape.value, f"{where}.{name}") for name, each in value.items()}
        case "string":
            if isinstance(value, bool):
                return str(value).lower()
            return json.dumps(value) if isinstance(value, dict | list) else str(value)
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean":
            if str(value).lower() not in ("true", "false"):
                raise Refused(f"{where}: {value!r} is not a boolean")
            return str(value).lower() == "true"
        case other:
            raise Refused(f"{where}: the type {other} is not supported")


def _key(name: str) -> str:
    return name.lower()
