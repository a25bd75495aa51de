"""The links of chaos between a replica and AWS. Each link cuts one service off, by its host name, and no other."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError
from proof.chaos.proxy import Fault, HttpsProxy, Link, listening, service
from tests.processes import PATIENCE

REGION = "eu-west-1"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("sqs.eu-west-1.amazonaws.com", "sqs"),
        ("dynamodb.eu-west-1.amazonaws.com", "dynamodb"),
        ("s3.amazonaws.com", "s3"),
        ("logs.s3.eu-west-1.amazonaws.com", "s3"),
        ("sqs.dynamodb.s3.eu-west-1.amazonaws.com", "s3"),
        ("sts.amazonaws.com", "sts"),
    ],
)
def test_a_service_is_recognised_by_its_host_name_with_any_bucket_name(host, name):
    assert service(host) == name


@pytest.fixture
def clients(tunnelled_aws):
    """Clients of S3 and SQS through a proxy with a link for each. They try once."""

    @asynccontextmanager
    async def clients(**config):
        links = {"s3": Link(tunnelled_aws.endpoint), "sqs": Link(tunnelled_aws.endpoint)}
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(listening(HttpsProxy(links).accept))
            options = AioConfig(proxies={"https": proxy}, retries={"total_max_attempts": 1}, **config)
            keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "x"}
            made = [
                await stack.enter_async_context(
                    get_session().create_client(name, REGION, verify=str(tunnelled_aws.ca_file), config=options, **keys)
                )
                for name in ("s3", "sqs")
            ]
            yield links["s3"], *made

    return clients


async def test_without_a_fault_every_request_passes(clients):
    async with clients() as (_, s3, sqs):
        await s3.create_bucket(Bucket="clear", CreateBucketConfiguration={"LocationConstraint": REGION})
        await s3.put_object(Bucket="clear", Key="a", Body=bytes(1_000_000))
        async with (await s3.get_object(Bucket="clear", Key="a"))["Body"] as body:
            assert await body.read() == bytes(1_000_000)
        assert (await sqs.create_queue(QueueName="clear"))["QueueUrl"].startswith(
            f"https://sqs.{REGION}.amazonaws.com/"
        )


@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.BLACK_HOLE])
async def test_a_fault_affects_only_its_service_on_old_and_new_connections(clients, fault, is_connected):
    async with clients() as (link, s3, sqs):
        if is_connected:
            await s3.list_buckets()
        link.set_fault(fault)
        if fault is Fault.BLACK_HOLE:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(s3.list_buckets(), 1)
        else:
            with pytest.raises(BotoCoreError):
                await asyncio.wait_for(s3.list_buckets(), PATIENCE)
        await sqs.list_queues()
        link.set_fault(None)
        await s3.list_buckets()


@pytest.mark.parametrize("is_connected", [False, True])
async def test_a_call_whose_answer_is_reset_has_its_effect(clients, is_connected):
    name = f"reset-{is_connected}".lower()
    async with clients() as (link, s3, _):
        if is_connected:
            await s3.list_buckets()
        link.set_fault(Fault.RESET)
        with pytest.raises(BotoCoreError):
            await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        link.set_fault(None)
        assert name in [bucket["Name"] for bucket in (await s3.list_buckets())["Buckets"]]


async def test_slow_answers_arrive(clients):
    async with clients() as (link, s3, _):
        link.set_fault(Fault.DELAY)
        await asyncio.wait_for(s3.list_buckets(), PATIENCE)


async def test_a_service_without_a_link_is_refused(clients, tunnelled_aws):
    async with listening(HttpsProxy({}).accept) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rpartition(":")[2]))
        writer.write(b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
        writer.close()
        await writer.wait_closed()
