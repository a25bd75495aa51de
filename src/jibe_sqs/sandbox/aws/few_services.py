"""moto's CloudFormation without the services that the sandbox's templates do not use.

moto's CloudFormation imports every service that has a resource type, EC2 with its hundreds of kinds of instances among
them. That is more than half of all that the server does in a short run of the sandbox. Here these services are empty
while CloudFormation is imported, so it knows no resource types of theirs. A request to such a service finds moto's own.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_USED: Final = ("cloudwatch", "dynamodb", "events", "iam", "kms", "organizations", "s3", "sns", "sqs", "sts")
"""Services that CloudFormation and its resources need, and what they import themselves."""
_UNUSED: Final = frozenset({
    *("apigateway", "autoscaling", "awslambda", "batch", "datapipeline", "ec2", "ecr", "ecs", "efs", "elb", "elbv2"),
    *("emr", "iot", "kinesis", "rds", "redshift", "route53", "sagemaker", "ssm", "stepfunctions"),
})  # fmt: skip


def import_cloudformation() -> None:
    """Import moto's CloudFormation. Without effect if it is imported already."""
    for service in _USED:
        importlib.import_module(f"moto.{service}.models")
    before = set(sys.modules)
    finder = _EmptyServices()
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("moto.cloudformation.responses")
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if isinstance(sys.modules[name], _EmptyModule):
                del sys.modules[name]


class _EmptyModule(ModuleType):
    """A module in which each name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _EmptyServices(MetaPathFinder, Loader):
    """Finds empty modules for the services in `_UNUSED`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        package, *parts = name.split(".")
        is_unused = package == "moto" and bool(parts) and parts[0] in _UNUSED
        return ModuleSpec(name, self, is_package=True) if is_unused else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """It stays empty."""
