"""How a CloudFormation resource is created: with the calls of AWS's API. `pipe_resources` and `service_resources` know the types."""

import json
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.deployment.shapes import arguments
from tests.deployment.templates import Refused

from jibe_sqs.sandbox.aws.deployment import client

Properties = dict[str, Any]


@dataclass
class Context:
    """Where a resource is created, and what it is called if its properties do not say so."""

    endpoint: str
    region: str
    stack: str
    logical: str

    def client(self, service: str) -> Any:
        return client(self.endpoint, service, self.region)

    def name(self, *, longest: int = 80) -> str:
        unique = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        return f"{self.stack}-{self.logical}"[: longest - 13] + f"-{unique}"

    def call(self, service: str, operation: str, properties: Properties) -> Any:
        api = self.client(service)
        return getattr(api, operation)(**arguments(api, operation, properties))


@dataclass
class Created:
    """A resource: the value of `Ref`, its attributes, and how it is deleted."""

    reference: str
    attributes: dict[str, Any] = field(default_factory=dict)
    delete: Callable[[], Any] = lambda: None


Kind = Callable[[Context, Properties], Created]
KINDS: dict[str, Kind] = {}
SET_AGAIN = set[str]()
"""Types that can be created again to update them: a call that sets everything."""


def kind(name: str, *, again: bool = False) -> Callable[[Kind], Kind]:
    def register(create: Kind) -> Kind:
        KINDS[name] = create
        if again:
            SET_AGAIN.add(name)
        return create

    return register


def text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole(context: Context, properties: Properties, *known: str) -> Created:
    """Raises `Refused` if there are other properties than these."""
    if unknown := sorted(properties.keys() - set(known)):
        raise Refused(f"{context.logical}: unknown properties {unknown}")
    return Created(context.name())
