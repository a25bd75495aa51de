"""Verification of SNS's signatures, with certificates of a simulated SNS."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from jibe_sqs.adapters import sns_certificates
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.partitions import partitions
from jibe_sqs.adapters.sns_certificates import LIFETIME, LIFETIME_IF_USELESS, MAX_ADDRESSES, MAX_BYTES, SnsCertificates
from jibe_sqs.adapters.sns_signatures import SnsSignatures, sns_signatures
from jibe_sqs.core.errors import AnnouncementForged, AnnouncementUnsigned, SignatureUnavailable

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:logs"
SESSION = Session()
NO_CREDENTIALS = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def certificate():
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    built = built.serial_number(1).not_valid_before(NOW - timedelta(days=9)).not_valid_after(NOW + timedelta(days=9))
    return built.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


PEM = certificate()


def envelope(message, topic=TOPIC, url=URL):
    fields = {"Message": message, "MessageId": "id", "Timestamp": "now", "TopicArn": topic, "Type": "Notification"}
    text = "".join(f"{name}\n{value}\n" for name, value in fields.items())
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), SHA256())

    signing = {"SignatureVersion": "2", "Signature": base64.b64encode(signature).decode(), "SigningCertURL": url}
    return json.dumps({**fields, **signing})


async def stream(body):
    yield body


class Sns:
    """Answers with the certificate, or with `answer`."""

    def __init__(self):
        self.asked = []
        self.answer = lambda: httpx.Response(200, content=stream(PEM))
        self.time = 0.0
        self.now = NOW
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, request):
        self.asked.append(str(request.url))
        await self.go.wait()
        return self.answer()


@pytest.fixture
def sns():
    return Sns()


@pytest.fixture
async def certificates(sns):
    async with Connections(transport=httpx.MockTransport(sns), follow_redirects=True) as connections:
        yield SnsCertificates(connections, now=lambda: sns.now, monotonic=lambda: sns.time)


@pytest.fixture
def signatures(certificates):
    return SnsSignatures(certificates, [TOPIC])


async def test_messages_of_sns_are_accepted_and_the_certificate_is_fetched_once(sns, signatures):
    for number in range(3):
        await signatures.check(envelope(str(number)))
    assert sns.asked == [URL]


async def test_concurrent_checks_fetch_the_certificate_once(sns, signatures):
    sns.go.clear()
    checks = [asyncio.create_task(signatures.check(envelope(str(number)))) for number in range(20)]
    while not sns.asked:
        await asyncio.sleep(0)
    checks[0].cancel()
    sns.go.set()
    outcomes = await asyncio.gather(*checks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [asyncio.CancelledError, *[type(None)] * 19]
    assert len(sns.asked) <= 2  # the second one if the cancelled check had sent the first


async def test_a_certificate_is_fetched_again_after_its_lifetime(sns, signatures):
    await signatures.check(envelope("1"))
    sns.time = LIFETIME
    await signatures.check(envelope("2"))
    assert len(sns.asked) == 2


async def test_a_certificate_that_expires_in_the_cache_is_refused(sns, signatures):
    await signatures.check(envelope("1"))
    sns.now = NOW + timedelta(days=10)
    with pytest.raises(AnnouncementForged, match="valid from"):
        await signatures.check(envelope("2"))


@pytest.mark.parametrize("body", ["", "nonsense", "[]", json.dumps({"s3Bucket": "logs", "s3ObjectKey": ["a"]})])
async def test_a_body_without_an_envelope_is_unsigned(sns, signatures, body):
    with pytest.raises(AnnouncementUnsigned, match="raw delivery"):
        await signatures.check(body)
    assert not sns.asked


async def test_each_envelope_in_an_envelope_is_verified(signatures):
    await signatures.check(envelope(envelope("inner")))
    unsigned = json.dumps({"Type": "Notification", "Message": "x", "TopicArn": TOPIC})
    with pytest.raises(AnnouncementUnsigned):
        await signatures.check(envelope(unsigned))
    with pytest.raises(AnnouncementForged):
        await signatures.check(envelope(envelope("inner").replace("inner", "other")))
    with pytest.raises(AnnouncementForged, match="topics"):
        await signatures.check(envelope(envelope("inner", topic=f"{TOPIC}-of-others")))


async def test_without_configured_topics_any_topic_is_accepted(certificates):
    await SnsSignatures(certificates).check(envelope("x", topic=f"{TOPIC}-of-others"))


async def test_a_certificate_at_another_host_is_not_fetched(sns, signatures):
    with pytest.raises(AnnouncementForged):
        await signatures.check(envelope("x", url="https://evil.example.com/a.pem"))
    assert not sns.asked


REGIONS = [
    (partition, region) for partition in partitions() for region in SESSION.get_available_regions("sns", partition.name)
]


@pytest.mark.parametrize(("partition", "region"), REGIONS, ids=lambda each: getattr(each, "name", each))
async def test_messages_of_sns_are_accepted_in_each_region_of_each_partition(sns, certificates, partition, region):
    """The expected host is botocore's endpoint of SNS."""
    host = urlsplit(SESSION.create_client("sns", region, **NO_CREDENTIALS).meta.endpoint_url).netloc
    url = f"https://{host}/SimpleNotificationService-a.pem"
    topic = f"arn:{partition.name}:sns:{region}:111122223333:logs"
    await SnsSignatures(certificates).check(envelope("x", topic, url))
    assert sns.asked == [url]


def test_there_are_regions_of_all_partitions():
    """Otherwise the test above would test less than all."""
    assert {partition for partition, _ in REGIONS} == {*partitions()}


@pytest.mark.parametrize("partition", partitions(), ids=lambda each: each.name)
async def test_a_certificate_of_another_partition_is_not_fetched(sns, certificates, partition):
    url = f"https://sns.{partition.home}.{partition.dns_suffix}/SimpleNotificationService-a.pem"
    for other in partitions():
        if other is not partition:
            topic = f"arn:{other.name}:sns:{other.home}:111122223333:logs"
            with pytest.raises(AnnouncementForged, match="partition"):
                await SnsSignatures(certificates).check(envelope("x", topic, url))
    assert not sns.asked


@pytest.mark.parametrize("partition", partitions(), ids=lambda each: each.name)
async def test_a_certificate_at_a_dual_stack_or_fips_host_is_not_fetched(sns, certificates, partition):
    topic = f"arn:{partition.name}:sns:{partition.home}:111122223333:logs"
    for host in (f"sns.{partition.home}.{partition.suffixes[1]}", f"sns-fips.{partition.home}.{partition.dns_suffix}"):
        with pytest.raises(AnnouncementForged):
            await SnsSignatures(certificates).check(envelope("x", topic, f"https://{host}/a.pem"))
    assert not sns.asked


async def test_a_redirect_is_not_followed(sns, signatures):
    sns.answer = lambda: httpx.Response(302, headers={"Location": "https://evil.example.com/a.pem"})
    with pytest.raises(SignatureUnavailable, match="302"):
        await signatures.check(envelope("x"))
    assert sns.asked == [URL]


async def test_a_missing_certificate_is_requested_again_after_some_time(sns, signatures):
    sns.answer = lambda: httpx.Response(404)
    for _ in range(2):
        with pytest.raises(AnnouncementForged, match="does not have"):
            await signatures.check(envelope("x"))
    assert len(sns.asked) == 1
    sns.time = LIFETIME_IF_USELESS
    sns.answer = lambda: httpx.Response(200, content=stream(PEM))
    await signatures.check(envelope("x"))


async def test_an_invalid_certificate_is_fetched_again_after_some_time(sns, signatures):
    sns.answer = lambda: httpx.Response(200, content=stream(b"<html>"))
    with pytest.raises(AnnouncementForged):
        await signatures.check(envelope("x"))
    sns.time = LIFETIME_IF_USELESS
    sns.answer = lambda: httpx.Response(200, content=stream(PEM))
    await signatures.check(envelope("x"))


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_a_failed_request_is_not_cached(sns, signatures, status):
    sns.answer = lambda: httpx.Response(status)
    for _ in range(2):
        with pytest.raises(SignatureUnavailable, match=str(status)):
            await signatures.check(envelope("x"))
    assert len(sns.asked) == 2


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError])
async def test_a_network_failure_is_transient(sns, signatures, error):
    def fail():
        raise error("words")

    sns.answer = fail
    with pytest.raises(SignatureUnavailable, match=error.__name__):
        await signatures.check(envelope("x"))


async def test_an_endless_answer_is_given_up(sns, signatures):
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield b"x" * 4096

    sns.answer = lambda: httpx.Response(200, content=endless())
    with pytest.raises(SignatureUnavailable, match="not a certificate"):
        await signatures.check(envelope("x"))
    assert len(sent) <= MAX_BYTES // 4096 * 2 + 2


async def test_a_slow_answer_is_given_up(sns, signatures, monkeypatch):
    monkeypatch.setattr(sns_certificates, "TIMEOUT", 0.05)
    sns.go.clear()
    with pytest.raises(SignatureUnavailable, match="not complete"):
        await signatures.check(envelope("x"))


async def test_the_number_of_cached_addresses_is_limited(signatures, certificates):
    for number in range(MAX_ADDRESSES + 20):
        await signatures.check(envelope("x", url=URL.replace("-a.pem", f"-{number}.pem")))
    assert len(certificates._cache.values) == MAX_ADDRESSES


async def test_the_services_own_client_follows_no_redirect():
    async with sns_signatures() as signatures, signatures._certificates._connections.one() as client:
        assert not client.follow_redirects
