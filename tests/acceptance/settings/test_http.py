"""`http`, and its older name `health`."""

import pytest
from tests.acceptance.settings.minimal import MINIMAL, changed, problems

from jibe_sqs.settings import Settings, load


def test_without_a_port_none_is_opened(write):
    settings = load(Settings, config=write(MINIMAL))
    assert (settings.http.port, settings.health.port) == (None, None)
    assert settings.http.host == "127.0.0.1"


def test_the_port_of_an_installed_deployment_stays_as_it_was(write, monkeypatch):
    monkeypatch.setenv("JIBE_HEALTH__PORT", "8081")
    settings = load(Settings, config=write(MINIMAL))
    assert (settings.health.port, settings.health.host) == (8081, "*")
    assert settings.http.port is None


@pytest.mark.parametrize("health", [{"port": 8080}, {"host": "0.0.0.0"}])
def test_both_names_of_the_port_are_one_too_many(write, health):
    found = problems(config=write(changed(http={"port": 8080}, health=health)))
    assert found == ["health: the older name of http: move health.host to http.host, and remove health"]


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"login": "ana"}, "a login has a name and a password: set http.password too, or neither"),
        ({"password": "CANARY"}, "a login has a name and a password: set http.login too, or neither"),
        ({"login": "a:b", "password": "CANARY"}, "must not contain a colon"),
        ({"port": 70_000}, "http.port"),
    ],
)
def test_half_a_login_and_a_wrong_port_are_mistakes(write, given, mistake):
    (found,) = problems(config=write(changed(http={"port": 8080} | given)))
    assert found.startswith("http")
    assert mistake in found


def test_the_password_is_never_shown(write, monkeypatch):
    monkeypatch.setenv("JIBE_HTTP__PASSWORD", "CANARY")
    settings = load(Settings, config=write(changed(http={"port": 8080, "login": "ana"})))
    assert settings.http.password.get_secret_value() == "CANARY"
    assert "CANARY" not in repr(settings)


def test_the_login_may_be_kept_beside_its_password(write):
    kept = {"login": "file:/run/secrets/page-login", "password": "file:/run/secrets/page-password"}
    assert load(Settings, config=write(changed(http={"port": 8080} | kept))).http.login == kept["login"]
