"""Mistakes in the environment of AWS clients: each is reported in one line before the first request."""

import os

import pytest

from jibe_sqs.adapters.aws_environment import check_aws_environment, check_endpoint, check_region
from jibe_sqs.core.errors import SettingsError

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in os.environ:
        if name.upper().startswith("AWS_") or name.upper() in PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


def problem():
    with pytest.raises(SettingsError) as raised:
        check_aws_environment()
    (line,) = raised.value.problems
    assert "\n" not in line
    return line


def test_an_ordinary_environment_is_accepted(monkeypatch):
    check_aws_environment()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[::1]:4566")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    check_aws_environment()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "nosuch"),
        ("AWS_ENDPOINT_URL", "localhost:99"),
        ("AWS_ENDPOINT_URL_SQS", "localhost:99"),
        ("AWS_ENDPOINT_URL_S3", "ftp://localhost:99"),
        ("AWS_ENDPOINT_URL_STS", "https://my_store:9000"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "https://[::1"),
        ("AWS_DEFAULT_REGION", "eu west"),
        ("AWS_REGION", "eu west"),
        ("AWS_RETRY_MODE", "foo"),
        ("AWS_MAX_ATTEMPTS", "x"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "x"),
        ("AWS_DEFAULTS_MODE", "foo"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "foo"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "foo"),
        ("HTTPS_PROXY", "http://[::1"),
        ("HTTPS_PROXY", "http://proxy.example.com:port"),
        ("HTTPS_PROXY", "socks5://proxy.example.com"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert variable in problem()


def test_the_text_about_a_wrong_proxy_does_not_repeat_it(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:CANARY/1@proxy.example.com")
    assert "CANARY" not in problem()


@pytest.mark.parametrize(
    "endpoint",
    ["https://ana:CANARY@store.example.com", "https://store.example.com?CANARY", "https://store.example.com/#CANARY"],
)
def test_an_endpoint_with_a_secret_is_refused_and_not_repeated(monkeypatch, endpoint):
    """Errors about a store name its endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", endpoint)
    found = problem()
    assert found.startswith("AWS_ENDPOINT_URL_SQS: ")
    assert "CANARY" not in found


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_malformed_configuration_file_is_named(monkeypatch, tmp_path, variable):
    (tmp_path / "broken").write_text("no section\n[x")
    monkeypatch.setenv(variable, str(tmp_path / "broken"))
    assert str(tmp_path / "broken") in problem()


def test_a_wrong_endpoint_in_the_profile_is_refused(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nendpoint_url = localhost:99\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert problem().startswith("endpoint_url of the AWS profile: ")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    check_aws_environment()


def test_endpoints_and_regions_of_settings_are_checked():
    check_endpoint("aws.endpoint", "https://store.example.com:9000")
    check_region("aws.region", "eu-west-1")
    with pytest.raises(SettingsError, match=r"^aws\.endpoint: not an address"):
        check_endpoint("aws.endpoint", "https://my_store:9000")
    with pytest.raises(SettingsError, match=r"^aws\.region: not the name"):
        check_region("aws.region", "eu west")
