"""boto3 clients that use the sandbox's AWS under the real host names of AWS."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
from botocore.config import Config


def aws_client(
    environment: Mapping[str, str], service: str, region: str, *, endpoint_url: str | None = None, **config: Any
) -> Any:
    """A client like that of a program with this environment. `config`: arguments of botocore's Config."""
    session = _session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region)
    config.setdefault("retries", {"total_max_attempts": 3})
    return session.client(
        service,
        endpoint_url=endpoint_url,
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(proxies={"https": environment["HTTPS_PROXY"]}, **config),
    )


@cache
def _session(access_key: str, secret_key: str, region: str) -> boto3.session.Session:
    # Shared: each session reads the descriptions of the services again.
    return boto3.session.Session(access_key, secret_key, region_name=region)
