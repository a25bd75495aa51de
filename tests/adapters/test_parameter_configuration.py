"""The configuration in a parameter of Systems Manager: its text, what it says when it changes, and errors with remedies."""

import json
import os
from contextlib import AsyncExitStack

import pytest
from tests.aws_clients import aws_client

from jibe_sqs.cli import loading
from jibe_sqs.compose.settings_texts import SettingsTexts
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Rules
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
