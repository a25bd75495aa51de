"""The proxy of the environment."""

import pytest

from jibe_sqs.adapters.proxies import proxy_for
from jibe_sqs.core.errors import SettingsError

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ({"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ({"ALL_PROXY": "http://jo:a%2Fb@p"}, "http://jo:a%2Fb@p"),
        ({"HTTPS_PROXY": "http://p", "ALL_PROXY": "http://q"}, "http://p"),
        ({"HTTP_PROXY": "http://p"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "localhost, ::1, .example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "aa.example.com:8443"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "example.org,a.example.com:1"}, "http://p"),
    ],
)
def test_the_proxy_is_the_one_of_the_scheme_unless_no_proxy_names_the_host(monkeypatch, environment, proxy):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert proxy_for("https://aa.example.com:8443/api") == proxy


@pytest.mark.parametrize("value", ["socks5://p", "ftp://p", "http://", "http://jo:zq/xv@p", "http://p:x"])
def test_a_proxy_that_cannot_be_used_is_a_mistake_in_the_settings(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(SettingsError) as caught:
        proxy_for("https://aa.example.com")
    assert "zq" not in str(caught.value)
