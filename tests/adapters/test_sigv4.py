"""Signatures are the same as botocore's, byte for byte."""

import subprocess
import sys
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, _host_from_url
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import percent_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.adapters.sigv4 import UNSIGNED_PAYLOAD, Signer

WHEN = 1_790_000_000.25
KEYS = ReadOnlyCredentials("AKIDEXAMPLE", "a-secret", None, None)
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
# Line ends are not possible in a header, and a name is a token.
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)
NAMES = st.sampled_from(
    [
        "Content-Type",
        "User-Agent",
        "x-amz-expected-bucket-owner",
        "X-Amz-Target",
        "x-amzn-trace-id",
        "Expect",
        "TE",
        "A",
    ]
) | st.from_regex(r"[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}", fullmatch=True)
TAKEN = {"authorization", "date", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
HEADERS = st.dictionaries(NAMES, VALUES, max_size=5).filter(
    lambda headers: not TAKEN & {name.lower() for name in headers}
)
HOSTS = st.sampled_from(
    ["sqs.eu-west-1.amazonaws.com", "the-logs.s3.amazonaws.com", "127.0.0.1", "[::1]", "Store.Example"]
)
ENDPOINTS = st.tuples(
    st.sampled_from(["http", "https"]), HOSTS, st.sampled_from(["", ":80", ":443", ":8080", ":1"])
).map(lambda parts: f"{parts[0]}://{parts[1]}{parts[2]}")
PATHS = st.just("/") | st.lists(TEXT | st.sampled_from(["", ".", "..", "a%2Fb", "~", "*", "+"])).map(
    lambda segments: "/" + "/".join(percent_encode(segment, safe="~") for segment in segments)
)
PARAMETERS = st.lists(
    st.tuples(TEXT, st.none() | TEXT).map(
        lambda pair: percent_encode(pair[0]) + ("" if pair[1] is None else f"={percent_encode(pair[1])}")
    ),
    max_size=4,
)
CREDENTIALS = st.builds(ReadOnlyCredentials, TEXT, TEXT, st.none() | TEXT, st.none())
REGIONS = st.sampled_from(["us-east-1", "cn-north-1", "us-gov-west-1", "", "odd region/é"])
TIMES = st.floats(0, 4_102_444_800)


def botocores(how, service, region, method, url, headers, credentials, when, body=None, context=None):
    """The headers with which botocore would send this request at that time."""
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    request.context.update(context or {})
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(int(when), UTC)):
        how(credentials, service, region).add_auth(request)
    return sorted((name.lower(), value) for name, value in request.headers.items())


def ours(service, region, method, url, headers, *arguments, **options):
    parts = urlsplit(url)
    made = Signer(service, region, method, _host_from_url(url), headers).headers(
        parts.path, parts.query, *arguments, **options
    )
    return sorted((name.lower(), value) for name, value in made.items())


@pytest.mark.parametrize(("how", "service"), [(S3SigV4Auth, "s3"), (SigV4Auth, "sqs")])
@given(
    region=REGIONS,
    method=st.sampled_from(["GET", "POST", "HEAD", "put"]),
    endpoint=ENDPOINTS,
    path=PATHS,
    parameters=PARAMETERS,
    headers=HEADERS,
    credentials=CREDENTIALS,
    when=TIMES,
    body=st.binary(max_size=100),
)
@settings(deadline=None, max_examples=300)
def test_any_request_is_signed_as_botocore_signs_it(
    how, service, region, method, endpoint, path, parameters, headers, credentials, when, body
):
    url = f"{endpoint}{path}?{'&'.join(parameters)}" if parameters else f"{endpoint}{path}"
    expected = botocores(how, service, region, method, url, headers, credentials, when, body)
    assert ours(service, region, method, url, headers, credentials, when, body) == expected


def test_a_body_may_stay_unsigned():
    url, context = "https://b.s3.amazonaws.com/k", {"has_streaming_input": True}
    headers = {"Content-MD5": "x"}
    expected = botocores(S3SigV4Auth, "s3", "r", "PUT", url, headers, KEYS, WHEN, b"body", context)
    assert ("x-amz-content-sha256", UNSIGNED_PAYLOAD) in expected
    assert ours("s3", "r", "PUT", url, headers, KEYS, WHEN, b"body", body_hash=UNSIGNED_PAYLOAD) == expected


REQUESTS = st.lists(
    st.tuples(
        PATHS,
        st.sampled_from([KEYS, KEYS._replace(token="t"), KEYS._replace(secret_key="other")]),
        st.sampled_from([WHEN, WHEN + 0.5, WHEN + 1, WHEN + 86_400]),
        st.sampled_from([b"", b"a", b"b"]),
    ),
    max_size=8,
)


@pytest.mark.parametrize(("how", "service"), [(S3SigV4Auth, "s3"), (SigV4Auth, "sqs")])
@given(requests=REQUESTS)
@settings(deadline=None)
def test_a_signature_does_not_depend_on_those_before_it(how, service, requests):
    """Renewed credentials, the next second, the next day and another body each change what is shared."""
    signer = Signer(service, "eu-west-1", "POST", "host.example", {"A": "b"})
    for path, credentials, when, body in requests:
        made = signer.headers(path, "", credentials, when, body)
        url = f"https://host.example{path}"
        expected = botocores(how, service, "eu-west-1", "POST", url, {"A": "b"}, credentials, when, body)
        assert sorted((name.lower(), value) for name, value in made.items()) == expected


def test_the_headers_of_one_request_are_not_those_of_the_next():
    """The caller may change what it gets."""
    signer = Signer("s3", "eu-west-1", "GET", "host.example")
    first = signer.headers("/k", "", KEYS, WHEN)
    first["X-Amz-Date"] = "changed"
    assert signer.headers("/k", "", KEYS, WHEN)["X-Amz-Date"] == "20260921T141320Z"


@pytest.mark.parametrize("name", ["Host", "date", "X-AMZ-DATE", "Authorization", "x-amz-security-token"])
def test_a_header_that_a_signature_sets_is_refused(name):
    with pytest.raises(ValueError, match=name.lower()):
        Signer("s3", "eu-west-1", "GET", "host.example", {name: "x"})


def test_signing_needs_no_botocore():
    """botocore takes a third of a second to import."""
    code = "import sys, jibe_sqs.adapters.sigv4; print([name for name in sys.modules if name.startswith('botocore')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
