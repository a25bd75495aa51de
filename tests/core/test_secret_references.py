"""References to secrets: their forms, and the value that they choose."""

import pytest

from jibe_sqs.core.secret_references import (
    Parameter,
    SecretFile,
    SecretReference,
    SecretsManagerSecret,
    secret_reference,
)

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:jibe/aa-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/jibe/aa"


@pytest.mark.parametrize(
    ("text", "kept", "key"),
    [
        (SECRET, SecretsManagerSecret(SECRET, "eu-west-1"), ""),
        (f"{SECRET}#password", SecretsManagerSecret(SECRET, "eu-west-1"), "password"),
        (f"{SECRET}#pass word:1#2", SecretsManagerSecret(SECRET, "eu-west-1"), "pass word:1#2"),
        (f"{SECRET}:password::", SecretsManagerSecret(SECRET, "eu-west-1"), "password"),
        (f"{SECRET}:password", SecretsManagerSecret(SECRET, "eu-west-1"), "password"),
        (f"{SECRET}:::", SecretsManagerSecret(SECRET, "eu-west-1"), ""),
        (f"{SECRET}:p:AWSPREVIOUS:", SecretsManagerSecret(SECRET, "eu-west-1", "AWSPREVIOUS"), "p"),
        (f"{SECRET}:::0d1", SecretsManagerSecret(SECRET, "eu-west-1", "", "0d1"), ""),
        (f"{SECRET}::AWSCURRENT:#p", SecretsManagerSecret(SECRET, "eu-west-1", "AWSCURRENT"), "p"),
        (PARAMETER, Parameter(PARAMETER, "eu-west-1"), ""),
        (f"{PARAMETER}:3", Parameter(f"{PARAMETER}:3", "eu-west-1"), ""),
        (f"{PARAMETER}#password", Parameter(PARAMETER, "eu-west-1"), "password"),
        ("file:/run/secrets/aa", SecretFile("/run/secrets/aa"), ""),
        ("file:///run/secrets/aa#1", SecretFile("/run/secrets/aa#1"), ""),
    ],
)
def test_a_reference_names_the_place_and_the_key(text, kept, key):
    """ECS's notation has the key, the stage and the version after the name, each possibly empty."""
    assert secret_reference(text) == SecretReference(kept, key)


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-iso"])
def test_other_partitions_have_references_too(partition):
    """The region is that of the ARN."""
    found = secret_reference(SECRET.replace("arn:aws:", f"arn:{partition}:"))
    assert found is not None
    assert str(found.kept).startswith(f"arn:{partition}:")


@pytest.mark.parametrize("text", ["", "secret", "https://hooks.example.com/arn:", "Arn:aws", "files:/x", "{}"])
def test_other_texts_are_secrets_themselves(text):
    """A secret may contain anything, if it does not begin like a reference."""
    assert secret_reference(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "arn:CANARY",
        "arn:aws:s3:::CANARY",
        "arn:aws:secretsmanager:eu-west-1:123456789012:CANARY",
        "arn:aws:secretsmanager:eu-west-1:1:secret:CANARY",
        f"{SECRET}:a:b:c:CANARY",
        f"{SECRET}:CANARY::#CANARY",
        f"{SECRET}#",
        f"{PARAMETER} CANARY",
        "arn:aws:ssm:eu-west-1:123456789012:document/CANARY",
        "file:CANARY",
        "file://host/CANARY",
        "file:/CANARY/",
        "file:",
    ],
)
def test_a_malformed_reference_is_a_mistake_that_does_not_repeat_it(text):
    """It may be a password that begins like a reference."""
    with pytest.raises(ValueError, match="write") as raised:
        secret_reference(text)
    assert "CANARY" not in str(raised.value)


def test_the_key_chooses_a_value_of_a_json_object():
    """As the console of Secrets Manager stores keys and values."""
    assert SecretReference(SecretFile("/x"), "p").value('{"p": "s", "q": "t"}') == "s"


@pytest.mark.parametrize(
    ("key", "content", "why"),
    [
        ("", '{"password": "CANARY"}', "name one of its keys"),
        ("p", '{"q": "CANARY"}', "no key 'p'"),
        ("p", "CANARY", "not a JSON object"),
        ("p", '["CANARY"]', "not a JSON object"),
        ("p", '{"p": {"q": "CANARY"}}', "not text"),
        ("p", '{"p": ""}', "empty"),
        ("", "", "empty"),
        ("p", "[" * 100_000, "not a JSON object"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error_without_the_content(key, content, why):
    """A password that is a whole JSON object would only be a refused login."""
    with pytest.raises(ValueError, match=why) as raised:
        SecretReference(SecretFile("/x"), key).value(content)
    assert "CANARY" not in str(raised.value)
