"""Translation of the codes of AWS services: our class, the order of the text, the remedy."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProxyConnectionError, ReadTimeoutError, SSLError
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.adapters import http1_errors
from jibe_sqs.adapters.aws_errors import described, failure, log_store_error, no_answer_errors
from jibe_sqs.adapters.s3 import translated
from jibe_sqs.core.errors import LogAccessDenied, LogBucketMissing, LogMissing, LogStoreUnavailable
from jibe_sqs.core.model import LogFile

NAME = "s3://the-logs/AWSLogs/file.json.gz"


def refused(code, status, message="The service's own words.", operation="GetObject"):
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


CODES = [
    # In the order of the S3 API Reference: by status.
    ("NoSuchKey", 404, LogMissing, ""),
    ("NoSuchVersion", 404, LogMissing, ""),
    ("NoSuchBucket", 404, LogBucketMissing, "bucket's name"),
    ("AccessDenied", 403, LogAccessDenied, "s3:GetObject"),
    ("AllAccessDisabled", 403, LogAccessDenied, ""),
    ("InvalidAccessKeyId", 403, LogAccessDenied, "renew the credentials"),
    ("SignatureDoesNotMatch", 403, LogAccessDenied, "secret key"),
    ("ExpiredToken", 400, LogAccessDenied, "renew the credentials"),
    ("InvalidToken", 400, LogAccessDenied, "renew the credentials"),
    ("TokenRefreshRequired", 400, LogAccessDenied, "renew the credentials"),
    ("RequestTimeTooSkewed", 403, LogStoreUnavailable, "clock is wrong"),
    ("RequestExpired", 400, LogStoreUnavailable, "clock is wrong"),
    ("InvalidObjectState", 403, LogStoreUnavailable, "restore it"),
    ("KMS.DisabledException", 400, LogAccessDenied, "enable the KMS key"),
    ("KMS.NotFoundException", 400, LogAccessDenied, "KMS key"),
    ("KMS.KMSInvalidStateException", 400, LogAccessDenied, "cancel its deletion"),
    ("KMS.InternalException", 500, LogStoreUnavailable, ""),
    ("KMS.KeyUnavailableException", 500, LogStoreUnavailable, ""),
    ("AuthorizationHeaderMalformed", 400, LogStoreUnavailable, "region"),
    ("PermanentRedirect", 301, LogStoreUnavailable, "region"),
    ("SlowDown", 503, LogStoreUnavailable, ""),
    ("InternalError", 500, LogStoreUnavailable, ""),
    # Codes of MinIO.
    ("InvalidTokenId", 403, LogAccessDenied, "renew the credentials"),
    ("XMinioServerNotInitialized", 503, LogStoreUnavailable, ""),
    # Unknown codes: the status decides.
    ("SomethingNew", 400, LogStoreUnavailable, ""),
    ("SomethingNew", 401, LogAccessDenied, ""),
    ("SomethingNew", 403, LogAccessDenied, ""),
    ("SomethingNew", 404, LogMissing, ""),
    ("SomethingNew", 599, LogStoreUnavailable, ""),
    # The answer to a HEAD request has no code.
    ("403", 403, LogAccessDenied, ""),
    ("404", 404, LogMissing, ""),
]


@pytest.mark.parametrize(("code", "status", "ours", "remedy"), CODES)
def test_a_code_decides_the_class_and_the_remedy_and_stands_first(code, status, ours, remedy):
    """boto3 #2952; s5cmd #205."""
    error = log_store_error(NAME, refused(code, status))
    assert type(error) is ours
    start = f"{code}: {NAME}: The service's own words"
    assert str(error).startswith(start)
    assert remedy in str(error)
    assert (str(error) == f"{start}.") == (not remedy)
    assert str(error).count("file.json.gz") == 1


def test_the_log_store_raises_the_same_text():
    with pytest.raises(LogStoreUnavailable) as raised, translated(LogFile("the-logs", "AWSLogs/file.json.gz")):
        raise refused("RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large.")  # fmt: skip
    assert str(raised.value) == (
        f"RequestTimeTooSkewed: {NAME}: The difference between the request time and the current time is too large: "
        "this machine's clock is wrong: synchronise it"
    )


def test_a_missing_permission_for_the_kms_key_has_its_own_remedy():
    """boto3 #2952."""
    words = (
        "User: arn:aws:iam::123456789012:user/u is not authorized to perform: kms:Decrypt on the resource associated "
        "with this ciphertext because no identity-based policy allows the kms:Decrypt action"
    )
    error = log_store_error(NAME, refused("AccessDenied", 403, words), owner="123456789012")
    assert type(error) is LogAccessDenied
    assert "allow kms:Decrypt" in str(error)
    assert "bucket_owner" not in str(error)


@pytest.mark.parametrize("version", ["", " version v1"])
def test_the_objects_arn_is_removed_from_the_message(version):
    words = (
        'User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform: s3:GetObject on resource: '
        '"arn:aws:s3:::the-logs/AWSLogs/file.json.gz" because no identity-based policy allows the s3:GetObject action'
    )  # fmt: skip
    text = str(log_store_error(NAME + version, refused("AccessDenied", 403, words)))
    assert text.count("file.json.gz") == 1
    assert "not authorized to perform: s3:GetObject because no identity-based policy" in text


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://the-logs.s3.amazonaws.com/AWSLogs/file.json.gz?versionId=1"),
        ReadTimeoutError(endpoint_url="https://the-logs.s3.amazonaws.com/AWSLogs/file.json.gz"),
    ],
)
def test_the_path_of_an_address_is_removed_from_the_message(error):
    text = str(log_store_error(NAME, error))
    assert text.startswith(f"{NAME}: ")
    assert text.count("file.json.gz") == 1
    assert "https://the-logs.s3.amazonaws.com" in text


@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity"])
@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("AccessDenied", 403, "trust policy"),
        ("ExpiredTokenException", 400, "web identity token has expired"),
        ("InvalidIdentityToken", 400, "identity provider"),
        ("RegionDisabledException", 403, "activate STS"),
        ("InvalidClientTokenId", 403, "renew the credentials"),
    ],
)
def test_a_role_refused_by_sts_has_its_own_text(operation, code, status, remedy):
    text = str(log_store_error(NAME, refused(code, status, operation=operation), owner="123456789012"))
    assert text.startswith(f"{code}: {NAME}: {operation}: The service's own words: ")
    assert remedy in text
    assert "s3:GetObject" not in text
    assert "bucket_owner" not in text


def test_the_message_about_a_signature_is_cut_before_the_token():
    words = "The request signature does not match.\n\nThe Canonical String was\n'x-amz-security-token:CANARY'"
    for text in (described("q", refused("SignatureDoesNotMatch", 403, words)), failure("q", OSError(words))):
        assert "CANARY" not in text
        assert "\n" not in text


@given(st.text(), st.text(), st.integers(100, 599))
def test_any_answer_becomes_one_line_of_limited_length(code, message, status):
    error = log_store_error(NAME, refused(code, status, message))
    assert isinstance(error, LogAccessDenied | LogMissing | LogStoreUnavailable)
    assert NAME in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 800


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            SSLError(endpoint_url="https://s:9000", error="certificate verify failed"),
            ("`aws.ca_file`", "AWS_CA_BUNDLE"),
        ),
        (EndpointConnectionError(endpoint_url="https://s:9000/b"), ("https://s:9000", "`aws.endpoint`", "HTTPS_PROXY")),
        (ProxyConnectionError(proxy_url="http://p:3128", error="refused"), ("HTTPS_PROXY", "NO_PROXY")),
    ],
)
def test_an_unreachable_service_has_a_remedy(error, words):
    text = failure("attributes of jibe", error)
    assert text.startswith("attributes of jibe: ")
    assert all(word in text for word in words)


def test_a_failed_handshake_without_a_certificate_problem_has_no_remedy():
    assert "ca_file" not in failure("x", SSLError(endpoint_url="https://s:9000", error="WRONG_VERSION_NUMBER"))


HTTP_ERRORS = [each for each in vars(http1_errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("kind", HTTP_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_our_http_client_is_translated(kind):
    assert issubclass(kind, no_answer_errors())
    error = log_store_error(NAME, kind("words"))
    assert type(error) is LogStoreUnavailable
    assert str(error).startswith(f"{NAME}: words")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (http1_errors.ProxyFailed("words"), "HTTPS_PROXY"),
        (http1_errors.TlsFailed("CERTIFICATE_VERIFY_FAILED"), "aws.ca_file"),
        (http1_errors.Unreachable("words"), "is the address right"),
    ],
)
def test_an_error_of_a_connection_has_a_remedy(error, remedy):
    assert remedy in str(log_store_error(NAME, error))
