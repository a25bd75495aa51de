"""Addresses of objects are the same as botocore's, byte for byte."""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.store_hosts import LOADER

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.s3_get import Objects
from jibe_sqs.adapters.s3_get import place as place_of

REGION = "eu-west-1"


class Sent(Exception):
    pass


@pytest.fixture(scope="module")
def botocores_url():
    """The address to which botocore would send a GET."""
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    session.set_credentials("a", "b")
    urls = []

    def see(request, **_):
        urls.append(request.url)
        raise Sent

    client = session.create_client("s3", region_name=REGION)
    client.meta.events.register("before-send.s3.GetObject", see)

    def url(bucket, key, version=None):
        with suppress(Sent):
            client.get_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
        return urls[-1]

    return url


def resolved(bucket, owner=None):
    async def resolve():
        async with Aws() as aws:
            client = aws.offline_client("s3", REGION, Account(access_key_id="a", secret_access_key="b"))
            return place_of(client, bucket, {"ExpectedBucketOwner": owner} if owner else {})

    return asyncio.run(resolve())


@pytest.fixture(scope="module", params=["the-logs", "the.logs", "arn:aws:s3:us-west-2:111122223333:accesspoint/point"])
def place(request):
    return request.param, resolved(request.param)


# Keys of 1 to 1,024 bytes with any characters.
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.text(
    "/.%+ ?#&=\\\x00\x7fé\U0001f600", min_size=1
)


def origin_of(found):
    return found.base.removesuffix(urlsplit(found.base).path)


@given(key=KEYS, version=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_address_of_an_object_is_botocores(place, botocores_url, key, version):
    bucket, found = place
    assert f"{origin_of(found)}{found.target(key, version)}" == botocores_url(bucket, key, version)


def test_an_access_point_of_another_region_is_signed_for_it():
    found = resolved("arn:aws:s3:us-west-2:111122223333:accesspoint/point")
    assert (found.region, found.signing_name) == ("us-west-2", "s3")


def test_the_bucket_owner_is_sent_as_a_header():
    assert resolved("the-logs", "111122223333").headers["x-amz-expected-bucket-owner"] == "111122223333"
    assert "x-amz-expected-bucket-owner" not in resolved("the-logs").headers


async def test_the_path_is_sent_as_it_was_signed():
    """Many clients normalise `//`, `.` and `..`, and decode `%2F`."""
    paths = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        paths.append(head.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    keys = ["a//b", "a/../b/./c", "a%2Fb", "a+b c", "/x/", "?a=b#c", "é\U0001f600", "\x00\x01"]
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, Aws() as aws:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
        found = place_of(aws.offline_client("s3", REGION, account), "the-logs", {})
        for key in keys:
            (await Objects(aws, account, found).open(key, None)).close()
        assert paths == [str(found.target(key, None)) for key in keys]


@pytest.mark.parametrize(
    ("exempt", "proxy"), [("", "http://jo:p%2Fw@proxy.example:3128"), (".amazonaws.com", None), ("*", None)]
)
def test_the_proxy_is_botocores(monkeypatch, exempt, proxy):
    monkeypatch.setenv("HTTPS_PROXY", "jo:p%2Fw@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert resolved("the-logs").proxy == proxy


async def test_all_requests_share_one_tls_context():
    async with Aws() as aws:
        contexts = {aws.http(account).tls() for account in (Account(), Account(access_key_id="a"))}
        client = await aws.client("s3", REGION, Account(access_key_id="a", secret_access_key="b"))
        contexts.add(client._endpoint.http_session._build_verify_context())
    (context,) = contexts
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
