"""The configuration file in S3: its content, or one line about why it cannot be read."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jibe_sqs.adapters.s3_configuration import MAX_BYTES
from jibe_sqs.compose import stores
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.settings import AwsSettings

BUCKET = "configurations"
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def store(endpoint):
    """A bucket in the sandbox's AWS; gives a function that stores an object."""
    s3 = client(endpoint, "s3", REGION)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return lambda key, body: s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def settings(endpoint, **changes):
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": REGION}
    return AwsSettings(**{"endpoint": endpoint, **keys, **changes})


async def problem(bucket, key, aws):
    with pytest.raises(SettingsError) as raised:
        await stores.configuration(bucket, key, aws)
    (line,) = raised.value.problems
    assert line.startswith(f"s3://{bucket}/{key}: ")
    assert "\n" not in line
    assert SECRET_KEY not in line
    return line


@pytest.mark.parametrize("key", ["jibe.json", "a/b c/jibe+1%20é.toml", "a//b/../jibe.json"])
async def test_an_object_with_any_key_is_read_completely(endpoint, store, key):
    store(key, b'{"x": 1}')
    assert await stores.configuration(BUCKET, key, settings(endpoint)) == b'{"x": 1}'


async def test_endpoint_and_credentials_may_come_from_the_environment(endpoint, store, monkeypatch):
    store("jibe.json", b"{}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    assert await stores.configuration(BUCKET, "jibe.json", AwsSettings()) == b"{}"


@pytest.mark.parametrize(("bytes_", "good"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)])
async def test_a_large_object_is_not_a_configuration_file(endpoint, store, bytes_, good):
    store("large.json", b" " * bytes_)
    if good:
        assert len(await stores.configuration(BUCKET, "large.json", settings(endpoint))) == bytes_
    else:
        assert f"larger than {MAX_BYTES} bytes" in await problem(BUCKET, "large.json", settings(endpoint))


async def test_a_missing_object_and_a_missing_bucket_are_named(endpoint, store):
    assert "NoSuchKey: " in await problem(BUCKET, "none.json", settings(endpoint))
    assert "NoSuchBucket: " in await problem("no-such-bucket", "none.json", settings(endpoint))


async def test_the_error_for_missing_credentials_names_the_settings(endpoint):
    line = await problem(BUCKET, "jibe.json", AwsSettings(endpoint=endpoint))
    assert "no AWS credentials: give AWS_ACCESS_KEY_ID" in line
    assert "JIBE_AWS__ACCESS_KEY_ID" in line


async def test_an_invalid_bucket_name_is_a_settings_error(endpoint):
    assert "not the name of a bucket" in await problem("no bucket!", "jibe.json", settings(endpoint))


async def test_an_unreachable_store_is_a_settings_error():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_address[1]
    assert "cannot be read: " in await problem(BUCKET, "jibe.json", settings(f"http://127.0.0.1:{port}"))


class Store(BaseHTTPRequestHandler):
    """Answers with the object if the request is signed for the bucket's region, and with `refusal` otherwise."""

    refusal = (403, {}, "AccessDenied", "")

    def do_GET(self):
        if f"/{REGION}/s3/" in self.headers["Authorization"]:
            return self._answer(200, {}, b"{}")
        status, headers, code, more = self.refusal
        body = f"<Error><Code>{code}</Code><Message>said so</Message>{more}</Error>"
        return self._answer(status, headers, body.encode())

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def answering(*refusal):
    kind = type("Answering", (Store,), {"refusal": refusal})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "refusal",
    [
        (301, {"x-amz-bucket-region": REGION}, "PermanentRedirect", ""),
        (400, {}, "AuthorizationHeaderMalformed", f"<Region>{REGION}</Region>"),
        (400, {"x-amz-bucket-region": REGION}, "IllegalLocationConstraintException", ""),
    ],
    ids=lambda refusal: refusal[2],
)
async def test_a_bucket_of_another_region_is_read_there(refusal):
    with answering(*refusal) as endpoint:
        assert await stores.configuration(BUCKET, "jibe.json", settings(endpoint, region="us-east-1")) == b"{}"


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "AccessDenied", "allow s3:GetObject"),
        (403, "InvalidAccessKeyId", "correct the credentials"),
        (403, "SignatureDoesNotMatch", "correct the credentials"),
        (400, "ExpiredToken", "renew the credentials"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "InvalidObjectState", ""),
    ],
)
async def test_a_refusal_names_the_stores_code_and_the_remedy(status, code, remedy):
    with answering(status, {}, code, "") as endpoint:
        line = await problem(BUCKET, "jibe.json", settings(endpoint, region="us-east-1"))
    assert f"{code}: said so" in line
    assert remedy in line
