"""The hosts that our clients of a store contact, recorded by a proxy, and the hosts that botocore would contact.

`python -m tests.adapters.store_hosts` prints them.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.session
import msgspec
import pytest
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader
from botocore.retries.standard import ExponentialBackoff

from jibe_sqs.adapters import aws_sessions, s3_get, sqs_calls
from jibe_sqs.adapters.aws import Account
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.ledgers.dynamodb import DynamoDbLedger
from jibe_sqs.adapters.partitions import partitions
from jibe_sqs.adapters.s3 import Regions, S3Logs, Source
from jibe_sqs.adapters.s3_listing import S3Listing
from jibe_sqs.compose import stores
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import LogFile
from jibe_sqs.settings import Queues

NOT_RESOLVED = "(botocore refuses)"
CLIENTS = ("SQS receive", "S3 HEAD", "S3 GET", "S3 LIST", "DynamoDB", "STS")

REGIONS = {
    "aws": "eu-west-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-eusc": "eusc-de-east-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
}


class Switch(msgspec.Struct, frozen=True):
    """Settings of an operator. `endpoint`: the setting `aws.endpoint`. `profile`: lines of `~/.aws/config`."""

    environment: dict[str, str] = {}
    profile: str = ""
    bucket: str = "the-logs"
    endpoint: str | None = None


FIPS, DUAL_STACK = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
STORE = "https://store.example.com:9000"
VPC = "https://bucket.vpce-0a-1b.s3.eu-west-1.vpce.amazonaws.com"

EVERYWHERE = {
    "(none)": Switch(),
    "FIPS": Switch(FIPS),
    "dual stack": Switch(DUAL_STACK),
    "FIPS, dual stack": Switch(FIPS | DUAL_STACK),
    "bucket the.logs": Switch(bucket="the.logs"),
}
"""The cases of each partition."""
IN_AWS = {
    "AWS_ENDPOINT_URL": Switch({"AWS_ENDPOINT_URL": STORE}),
    "AWS_ENDPOINT_URL_S3": Switch({"AWS_ENDPOINT_URL_S3": STORE}),
    "AWS_ENDPOINT_URL_S3=VPC": Switch({"AWS_ENDPOINT_URL_S3": VPC}),
    "AWS_ENDPOINT_URL, ignored": Switch({"AWS_ENDPOINT_URL": STORE, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}),
    "aws.endpoint": Switch(endpoint=STORE),
    "aws.endpoint, virtual": Switch(endpoint=STORE, profile="s3 =\n  addressing_style = virtual\n"),
    "profile: endpoint_url": Switch(profile=f"endpoint_url = {STORE}\n"),
    "profile: services": Switch(profile=f"services = x\n\n[services x]\ns3 =\n  endpoint_url = {STORE}\n"),
    "profile: virtual": Switch({"AWS_ENDPOINT_URL_S3": STORE}, profile="s3 =\n  addressing_style = virtual\n"),
    "profile: path": Switch(profile="s3 =\n  addressing_style = path\n"),
    "profile: accelerate": Switch(profile="s3 =\n  use_accelerate_endpoint = true\n"),
    "profile: FIPS": Switch(profile="use_fips_endpoint = true\n"),
    "profile: dual stack": Switch(profile="use_dualstack_endpoint = true\n"),
    "legacy endpoints": Switch(
        {"AWS_STS_REGIONAL_ENDPOINTS": "legacy", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy"}
    ),
}
"""The cases of the partition `aws`."""

CASES = [
    *((name, region, title) for name, region in REGIONS.items() for title in EVERYWHERE),
    ("aws", "us-east-1", "(none)"),
    ("aws", "us-east-1", "FIPS"),
    ("aws", "us-east-1", "legacy endpoints"),
    ("aws-us-gov", "us-gov-west-1", "profile: FIPS"),
    *(("aws", "eu-west-1", title) for title in IN_AWS),
]
SWITCHES = EVERYWHERE | IN_AWS


@contextmanager
def configured(switch: Switch, proxy: str):
    """The environment of a process that has only these settings."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text(f"[default]\n{switch.profile}")
        clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AWS_")}
        clean = {name: value for name, value in clean.items() if not name.upper().endswith("_PROXY")}
        environment = {
            **clean,
            **switch.environment,
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(Path(folder) / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
        }
        with patch.dict(os.environ, environment, clear=True):
            yield


class Recorder:
    """A proxy that records the requested hosts, and refuses to connect."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.add(head.split(b" ")[1].decode().removesuffix(":443"))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    found = Recorder()
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found


class KnownRegion:
    """Contacts nothing."""

    def __init__(self, region: str) -> None:
        self._region = region

    async def of(self, _bucket: str, _source: Source) -> str:
        return self._region


def queue_url(partition: str, region: str) -> str:
    (suffix,) = [each.suffixes[0] for each in partitions() if each.name == partition]
    return f"https://sqs.{region}.{suffix}/111122223333/the-queue"


async def contacted(partition: str, region: str, switch: Switch, proxy: Recorder) -> dict[str, str]:
    """The hosts that our clients contact, by client."""
    aws_settings = {"endpoint": switch.endpoint, "access_key_id": "a", "secret_access_key": "b"}
    settings = Queues(queues=[{"url": queue_url(partition, region)}], aws=aws_settings)
    account = Account(endpoint=switch.endpoint, access_key_id="a", secret_access_key="b")
    role = msgspec.structs.replace(account, role_arn=f"arn:{partition}:iam::111122223333:role/r", region=region)
    async with stores.clients(settings) as aws:
        known = KnownRegion(region)
        queue = stores.queue(settings.queues[0], settings, aws)
        logs = S3Logs(aws=aws, regions=known, budget=Budget(2**24), sources={switch.bucket: [Source(account)]})
        table = DynamoDbLedger("the-table", region=region, account=account, aws=aws, retain=1)

        async def get() -> None:
            async with logs.open(LogFile(switch.bucket, "a//b+c")):
                pass

        async def assume() -> None:
            await (await aws.session(role).get_credentials()).get_frozen_credentials()

        calls: dict[str, Callable[[], object]] = {
            "SQS receive": lambda: queue.receive(1, wait=0, visibility=30),
            "S3 HEAD": lambda: Regions(aws, S3Clock()).of(switch.bucket, Source(account)),
            "S3 GET": get,
            "S3 LIST": lambda: S3Listing(aws=aws, source=Source(account), regions=known).has(switch.bucket, ""),
            "DynamoDB": lambda: table.is_finished(LogFile("b", "k")),
            "STS": assume,
        }
        return {name: await _asked(call, proxy) for name, call in calls.items()}


async def _asked(call, proxy: Recorder) -> str:
    proxy.asked.clear()
    with suppress(JibeError, BotoCoreError):
        await call()
        pytest.fail("nothing can have been answered")
    return " ".join(sorted(proxy.asked)) or NOT_RESOLVED


class _Sent(Exception):
    """Raised instead of sending a request."""


def resolved(partition: str, region: str, switch: Switch) -> dict[str, str]:
    """The hosts that botocore alone contacts, by client."""
    session = plain_session()
    calls = {
        "SQS receive": ("sqs", "receive_message", {"QueueUrl": queue_url(partition, region)}),
        "S3 HEAD": ("s3", "head_bucket", {"Bucket": switch.bucket}),
        "S3 GET": ("s3", "get_object", {"Bucket": switch.bucket, "Key": "a//b+c"}),
        "S3 LIST": ("s3", "list_objects_v2", {"Bucket": switch.bucket}),
        "DynamoDB": ("dynamodb", "get_item", {"TableName": "the-table", "Key": {"pk": {"S": "x"}}}),
        "STS": ("sts", "assume_role", {"RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "jibe-sqs"}),
    }
    found = {}
    for name, (service, operation, arguments) in calls.items():
        try:
            client = session.create_client(service, region_name=region, endpoint_url=switch.endpoint)
            found[name] = _host_of(client, operation, arguments)
        except BotoCoreError:
            found[name] = NOT_RESOLVED
    return found


def _host_of(client, operation: str, arguments: dict) -> str:
    asked = []

    def see(request, **_):
        asked.append(urlsplit(request.url).netloc)
        raise _Sent

    client.meta.events.register("before-send.*.*", see)
    with suppress(_Sent):
        getattr(client, operation)(**arguments)
    return asked[0]


LOADER = create_loader()
"""Botocore's data. Without this, each case would read it again."""


def plain_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    session.set_credentials("a", "b")
    return session


@contextmanager
def quickly():
    """Without pauses between tries, and with one loader of botocore's data."""

    def new_session():
        session = get_session()
        session.register_component("data_loader", LOADER)
        return session

    with (
        patch.object(ExponentialBackoff, "delay_amount", lambda *_: 0),
        patch.object(s3_get, "_pause", lambda *_: 0),
        patch.object(sqs_calls, "BACKOFF", Backoff(0.0, 0.0)),
        patch.object(aws_sessions, "get_session", new_session),
    ):
        yield


async def _table() -> AsyncIterator[tuple[str, str, str, dict[str, str]]]:
    async with recorder() as proxy:
        for partition, region, title in CASES:
            with configured(SWITCHES[title], proxy.address), quickly():
                yield partition, region, title, await contacted(partition, region, SWITCHES[title], proxy)


async def main() -> None:
    """Print the hosts that our clients contact. The clients of S3 share a line if their hosts are the same."""
    before = None
    async for partition, region, title, hosts in _table():
        if (partition, region) != before:
            print(f"\n{partition}, {region}")
            before = partition, region
        of_s3 = {hosts[name] for name in CLIENTS if name.startswith("S3")}
        shown = {name: host for name, host in hosts.items() if len(of_s3) > 1 or not name.startswith("S3")}
        if len(of_s3) == 1:
            shown["S3 HEAD GET LIST"] = of_s3.pop()
        for number, (name, host) in enumerate(shown.items()):
            print(f"  {title if number == 0 else '':26} {name:17} -> {host}")


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main())
