"""A password is rotated while the service works: nothing is lost, and nothing is restarted."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

REGION = "us-east-1"
NUMBER = count(1)


class AccessAnywhere:
    """The sandbox's server, whose password can be changed. Its first password is restored at the end."""

    def __init__(self, sandbox: dict[str, Any]) -> None:
        self._address = sandbox["access_anywhere"]

    def change(self, **credentials: str) -> None:
        """Change the password or the permanent token. All sessions end."""
        answer = httpx.put(f"{self._address}/sandbox/credentials", json=credentials, timeout=PATIENCE)
        answer.raise_for_status()

    @property
    def refused_logins(self) -> int:
        return int(httpx.get(f"{self._address}/sandbox/stats", timeout=PATIENCE).json()["refused_logins"])


@pytest.fixture
def access_anywhere(sandbox: dict[str, Any]) -> Iterator[AccessAnywhere]:
    server = AccessAnywhere(sandbox)
    yield server
    server.change(password=sandbox["password"], permanent_token=sandbox["permanent_token"])


def credentials_of(small_service) -> dict[str, Any]:
    return json.loads(small_service.config.read_text())["access_anywhere"]


def done(service) -> int:
    return len(service.events("message_done"))


@pytest.fixture
def kept(sandbox, tmp_path):
    """Stores a text in each of the places where secrets are kept. Returns its reference, and a function that replaces it."""
    secrets = aws_client(sandbox["environment"], "secretsmanager", REGION)
    parameters = aws_client(sandbox["environment"], "ssm", "eu-west-1")

    def in_secrets_manager(text, key="password"):
        arn = secrets.create_secret(
            Name=f"jibe/rotation-{next(NUMBER)}", SecretString=json.dumps({"login": "jibe", key: text})
        )["ARN"]

        def replace(text):
            secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"login": "jibe", key: text}))

        return f"{arn}:{key}::", replace

    def in_parameter(text):
        name = f"/jibe/rotation-{next(NUMBER)}"

        def replace(text):
            parameters.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)

        replace(text)
        return f"arn:aws:ssm:eu-west-1:123456789012:parameter{name}", replace

    def in_file(text):
        path = tmp_path / f"secret-{next(NUMBER)}"

        def replace(text):
            path.write_text(f"{text}\n")

        replace(text)
        return f"file:{path}", replace

    return {"Secrets Manager": in_secrets_manager, "Systems Manager": in_parameter, "a file": in_file}


@pytest.mark.parametrize("place", ["Secrets Manager", "Systems Manager", "a file"])
def test_a_rotated_password_needs_no_restart_and_loses_nothing(sandbox, small_service, access_anywhere, kept, place):
    """The password is replaced in Access Anywhere first, and where it is kept some seconds later, as rotations do."""
    reference, replace = kept[place](sandbox["password"])
    small_service.configure(access_anywhere=credentials_of(small_service) | {"password": reference})
    with small_service.started() as service:
        for number in range(10):
            small_service.announce(f"rotation/{number}/a.txt")
        eventually(lambda: done(service) >= 10, "the first messages")
        new = f"rotated-{next(NUMBER)}"
        refused = access_anywhere.refused_logins
        access_anywhere.change(password=new)
        for number in range(10):
            small_service.announce(f"rotation/{number}/b.txt")
        service.wait_for("circuit_opened")
        replace(new)
        service.wait_for("circuit_closed")
        for number in range(10):
            small_service.announce(f"rotation/{number}/c.txt")
        eventually(lambda: done(service) >= 30, "all messages")
        eventually(lambda: small_service.messages() == 0, "an empty queue")
        assert small_service.dead_letters() == 0
        assert not service.events("message_rejected")
        (renewed,) = service.events("secret_renewed")
        assert renewed["settings"] == ["password"]
        # A wrong password is not sent more often than without references: once, and by the probes.
        assert access_anywhere.refused_logins - refused <= 2
        assert service.process.poll() is None
        assert new not in service.output
        assert sandbox["password"] not in service.output
        assert service.stop() == 0


def test_each_of_several_workers_notices_the_rotation(sandbox, small_service, access_anywhere, kept):
    """The processes stay the same: none of them is restarted."""
    reference, replace = kept["a file"](sandbox["password"])
    small_service.configure(access_anywhere=credentials_of(small_service) | {"password": reference}, workers=2)
    with small_service.started() as service:
        eventually(lambda: len(service.events("started")) == 2, "two workers")
        for number in range(10):
            small_service.announce(f"workers/{number}/a.txt")
        eventually(lambda: done(service) >= 10, "the first messages")
        new = f"rotated-{next(NUMBER)}"
        access_anywhere.change(password=new)
        replace(new)
        for number in range(10):
            small_service.announce(f"workers/{number}/b.txt")
        eventually(lambda: done(service) >= 20, "all messages")
        eventually(lambda: small_service.messages() == 0, "an empty queue")
        assert small_service.dead_letters() == 0
        assert not service.events("worker_ended")
        assert service.events("secret_renewed")
        assert service.stop() == 0
