"""boto3 clients that use the sandbox's AWS under the real host names of AWS."""

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config


def aws_client(
    environment: Mapping[str, str], service: str, region: str, *, endpoint_url: str | None = None, **config: Any
) -> Any:
    """A client like that of a program with this environment. `config`: arguments of botocore's Config."""
    session = boto3.session.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )
    config.setdefault("retries", {"total_max_attempts": 3})
    return session.client(
        service,
        endpoint_url=endpoint_url,
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(proxies={"https": environment["HTTPS_PROXY"]}, **config),
    )
