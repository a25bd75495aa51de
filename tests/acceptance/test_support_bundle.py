"""The support bundle of the program itself: in every state it is written, and in no state it contains a secret."""

import hashlib
import json
import stat
import tarfile
from itertools import count
from pathlib import Path

import pytest
from tests.processes import eventually

NUMBER = count(1)
WORDS = ("password", "hook", "key", "token", "file", "environment", "secretfile", "logged")
CANARIES = {word: f"CANARY{word}0123456789" for word in WORDS}
LINE = json.dumps({
    "event": "request", "password": CANARIES["logged"], "url": f"https://x:{CANARIES['logged']}@h/?X-Amz-Signature={CANARIES['logged']}",
    "header": f"Authorization: Bearer {CANARIES['logged']}", "text": " ".join(v for k, v in CANARIES.items() if k != "logged"),
})  # fmt: skip
"""A line that no part of the service writes: all secrets are in it."""


class Bundle:
    """An archive, unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path) as archive:
            self.members = archive.getmembers()
            self.files = {each.name.partition("/")[2]: archive.extractfile(each).read() for each in self.members}
        self.manifest = json.loads(self.files["manifest.json"])

    def json(self, name):
        return json.loads(self.files[name])


@pytest.fixture
def configured(sandbox, small_service, tmp_path):
    """A service whose secrets are all canaries, except those with which it has to work."""
    secrets = tmp_path / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "JIBE_AWS__SESSION_TOKEN").write_text(CANARIES["secretfile"])
    (tmp_path / "kept").write_text(CANARIES["file"] + "\n")
    configuration = json.loads(small_service.config.read_text())
    small_service.configure(
        access_anywhere=configuration["access_anywhere"] | {"password": CANARIES["password"]},
        alerts={"webhook": f"http://127.0.0.1:9/services/{CANARIES['hook']}"},
        http={"login": "ana", "password": f"file:{tmp_path / 'kept'}"},
        logs=[{"bucket": "trail", "access_key_id": "AKIACANARYKEY0123456", "secret_access_key": CANARIES["key"],
               "session_token": CANARIES["token"]}],
    )  # fmt: skip
    return small_service


@pytest.fixture
def bundle(jibe, sandbox, tmp_path):
    """Runs the command, and searches all that it has written for secrets."""

    (tmp_path / "secrets").mkdir(exist_ok=True)

    def bundle(config: Path, *options: str) -> Bundle:
        path = tmp_path / f"bundle-{next(NUMBER)}.tar.gz"
        variables = sandbox["environment"] | {
            "OTHER_API_TOKEN": CANARIES["environment"],
            "JIBE_SECRETS_DIR": str(tmp_path / "secrets"),
        }
        done = jibe("support-bundle", "--config", str(config), "--output", str(path), *options, **variables)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        found = Bundle(path)
        leaks = {
            (name, canary)
            for name, content in {**found.files, "output": (done.stdout + done.stderr).encode()}.items()
            for canary in (*CANARIES.values(), sandbox["password"], "AKIACANARY")
            if canary.encode() in content
        }
        assert not leaks
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for name, facts in found.manifest["files"].items():
            assert hashlib.sha256(found.files[name]).hexdigest() == facts["sha256"]
        assert {*found.manifest["files"], "manifest.json"} == set(found.files)
        return found

    return bundle


def test_the_bundle_of_a_running_service_has_all_parts(small_service, bundle):
    """Its log comes from its memory, and its status from its control socket."""
    with small_service.started() as service:
        small_service.announce_change()
        service.wait_for("message_done")
        eventually((small_service.config.parent / "jibe-sqs.sock").exists, "the control socket")
        found = bundle(small_service.config)
        assert service.stop() == 0
    assert not found.manifest["left_out"]
    assert b"message_done" in found.files["log-lines.txt"]
    assert found.json("status.json")["version"]
    assert found.json("ledger.json")["rows"]["folders"] >= 1
    assert found.json("versions.json")["packages"]["pydantic"]
    assert "OTHER_API_TOKEN" in found.json("environment.json")
    assert "ok" in found.json("check.json")
    assert {each["name"] for each in found.json("settings.json")} >= {"access_anywhere.password", "log.level"}


@pytest.mark.parametrize("options", [(), ("--hide-names",)], ids=["", "names are hidden"])
def test_the_bundle_of_a_dead_service_has_its_log_without_secrets(configured, bundle, tmp_path, options):
    log = tmp_path / "service.log"
    log.write_text(f"{LINE}\n" * 3)
    found = bundle(configured.config, "--log", str(log), *options)
    assert "no service answers" in found.manifest["left_out"]["status.json"]
    assert b"request" in found.files["log-lines.txt"]
    assert found.json("check.json")["problems"]


@pytest.mark.parametrize("wrong", ["a mistake", "not JSON"])
def test_the_bundle_of_an_invalid_configuration_has_the_mistakes(configured, bundle, tmp_path, wrong):
    """The secrets of a configuration that cannot be read are removed as well."""
    text = configured.config.read_text()
    configured.config.write_text(
        json.dumps(json.loads(text) | {"no_such_setting": 1}) if wrong == "a mistake" else text[:-1]
    )
    log = tmp_path / "service.log"
    log.write_text(f"{LINE}\n")
    found = bundle(configured.config, "--log", str(log))
    assert found.json("settings.json")["mistakes"]
    assert found.json("check.json")["problems"][0]["code"] == "settings"
    assert not found.manifest["settings_are_valid"]


def test_an_archive_that_exists_is_not_replaced(small_service, jibe, tmp_path):
    """It may be somebody else's file, with another mode."""
    path = tmp_path / "there"
    path.write_text("x")
    done = jibe("support-bundle", "--config", str(small_service.config), "--output", str(path))
    assert done.returncode == 1
    assert "File exists" in done.stderr
    assert path.read_text() == "x"
