"""The configuration in a parameter of Systems Manager: its text, what it says when it changes, and errors with remedies."""

import json
from contextlib import AsyncExitStack

import pytest
from botocore.exceptions import ClientError
from tests.aws_clients import aws_client

from jibe_sqs.adapters.secrets import SecretReader
from jibe_sqs.cli import loading
from jibe_sqs.compose.secrets import configuration
from jibe_sqs.compose.settings_texts import SettingsTexts
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.secret_references import Parameter
from jibe_sqs.settings import AwsSettings, Rules, Texts
from jibe_sqs.settings.sources import address_of, bucket_and_key

ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/jibe/config"


def test_an_objects_arn_is_its_address():
    assert address_of("arn:aws:s3:::configurations/a b/jibe.json") == ("configurations", "a b/jibe.json")
    assert bucket_and_key("arn:aws-cn:s3:::configurations/jibe.json") == ("configurations", "jibe.json")


@pytest.mark.parametrize(
    "source",
    [
        "arn:aws:ssm:eu-west-1:123456789012:document/x",
        f"{ARN}#key",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:jibe",
        "arn:aws:sqs:eu-west-1:123456789012:jibe",
    ],
)
def test_another_arn_is_refused_with_the_two_forms(source):
    with pytest.raises(SettingsError, match="arn:aws:ssm:REGION:ACCOUNT:parameter/NAME, or arn:aws:s3:::BUCKET/KEY"):
        address_of(source)


@pytest.fixture
def store(tunnelled_aws, monkeypatch):
    """AWS under its real names, in the environment of this process. Gives a function that stores the parameter."""
    for name, value in tunnelled_aws.environment.items():
        monkeypatch.setenv(name, value)
    ssm = aws_client(tunnelled_aws.environment, "ssm", "eu-west-1")
    return lambda text, kind="String": ssm.put_parameter(Name="/jibe/config", Value=text, Type=kind, Overwrite=True)


@pytest.mark.parametrize("kind", ["String", "SecureString"])
def test_a_parameter_is_a_configuration_file(store, kind):
    """Its region is that of its ARN, and an encrypted one is decrypted."""
    store(json.dumps({"buckets": {"media": "/Amazon S3/media"}}), kind)
    texts = loading.read(ARN)
    assert texts.source == ARN
    assert list(loading.load(Rules, ARN).buckets) == ["media"]


async def test_a_changed_parameter_is_found(store):
    store("{}")
    async with AsyncExitStack() as stack:
        source = SettingsTexts(Texts(source=ARN, file=b"{}"), stack)
        assert (await source.read()).file == b"{}"
        store('{"workers": 2}')
        assert (await source.read()).file == b'{"workers": 2}'


async def test_a_missing_parameter_is_named_with_the_remedy(store):
    arn = f"{ARN}-none"
    with pytest.raises(SettingsError, match=r"ParameterNotFound: .*parameter/jibe/config-none: .*correct the name"):
        await configuration(Parameter(arn, "eu-west-1"), AwsSettings())


class Answering:
    """Systems Manager that answers each call with an error."""

    def __init__(self, code: str, message: str) -> None:
        self._error = ClientError({"Error": {"Code": code, "Message": message}}, "GetParameter")

    async def get_parameter(self, **_: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("AccessDeniedException", "not authorized to perform: ssm:GetParameter", "allow ssm:GetParameter"),
        ("AccessDeniedException", "not authorized to perform: kms:Decrypt", "allow kms:Decrypt"),
        ("ParameterNotFound", "", "correct the name"),
        ("ThrottlingException", "Rate exceeded", "Rate exceeded"),
    ],
)
async def test_each_refusal_names_the_parameter_and_the_remedy(monkeypatch, code, message, remedy):
    async def client(*_: object) -> Answering:
        return Answering(code, message)

    monkeypatch.setattr(SecretReader, "_client", client)
    with pytest.raises(SettingsError, match=f"parameter/jibe/config: .*{remedy}"):
        await configuration(Parameter(ARN, "eu-west-1"), AwsSettings())
