"""Settings change while the service works under load: nothing is lost, and nothing is restarted."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually, started

MEDIA = "jibe-sandbox-us-east-1-media"
PROJECTS = "jibe-sandbox-us-east-1-projects"
SHOWN = {MEDIA: f"/Amazon S3 us-east-1/{MEDIA}"}


@pytest.fixture
def load(small_service):
    """Announces changes of two buckets all the time, during a block. Yields the ids of the messages."""

    @contextmanager
    def running() -> Iterator[list[str]]:
        ids: list[str] = []
        over = threading.Event()

        def announce() -> None:
            number = 0
            while not over.is_set():
                number += 1
                ids.append(small_service.announce(f"load/{number % 20}/{number}", bucket=(MEDIA, PROJECTS)[number % 2]))
                over.wait(0.02)

        thread = threading.Thread(target=announce)
        thread.start()
        try:
            yield ids
        finally:
            over.set()
            thread.join(PATIENCE)

    return running


def done(service) -> set[str]:
    return {event["message"] for event in service.events("message_done")}


def hang_up(service, name: str, number: int = 1):
    """Send SIGHUP, and wait for the answer in the log: the event of this name, for the so many-th time."""
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(service.events(name)) >= number, lambda: f"{name}\n{service.everything}")
    return service.events(name)[number - 1]


def test_changed_buckets_a_wrong_change_and_its_correction_lose_nothing_and_restart_nothing(small_service, load):
    """Under load. A bucket is added, then a mistake is made, and the mistake is corrected."""
    small_service.configure(buckets=SHOWN, http={"port": 0})
    with small_service.started() as service:
        service.wait_for("started")
        with load() as ids:
            eventually(lambda: len(done(service)) > 20, "the first messages")
            assert not service.events("folder_refreshed", bucket=PROJECTS)
            # A new entry of buckets, and settings that need a restart.
            small_service.configure(buckets=SHOWN | {PROJECTS: f"/Amazon S3 us-east-1/{PROJECTS}"}, drain_timeout=25)
            reloaded = hang_up(service, "settings_reloaded")
            assert reloaded["changed"] == [f"buckets.{PROJECTS}"]
            assert service.wait_for("settings_need_restart")["settings"] == ["drain_timeout"]
            assert service.wait_for("settings_changed")["changed"] == [f"buckets.{PROJECTS}"]
            # Earlier changes of the new bucket were skipped, so all of it is refreshed once.
            assert service.wait_for("imported")["bucket"] == PROJECTS
            # Two mistakes.
            right = small_service.config.read_text()
            small_service.configure(own_writes={"principal": ["ana"]}, limits={"messages_held": 0})
            refused = hang_up(service, "settings_refused")
            assert refused["level"] == "error"
            assert len(refused["reasons"]) == 2
            assert any("own_writes.principal" in reason for reason in refused["reasons"])
            before = len(done(service))
            eventually(lambda: len(done(service)) > before + 20, "work under the settings from before")
            # The correction, with a change that takes effect at once.
            small_service.config.write_text(right)
            small_service.configure(own_writes={"principals": ["*:user/ana"]})
            assert "own_writes.principals" in hang_up(service, "settings_reloaded", 2)["changed"]
            service.wait_for("own_write_skipped")
        eventually(lambda: set(ids) <= done(service), lambda: f"all messages\n{service.everything}")
        assert small_service.messages() == 0
        assert small_service.dead_letters() == 0
        assert service.process.poll() is None
        assert service.stop() == 0
        assert len(service.events("started")) == 1
        (stopped,) = service.events("stopped")
        assert stopped["redelivered"] == 0


def test_a_folder_that_a_corrected_mapping_does_not_show_fails_no_more(small_service):
    """Nobody refreshes it again, so no success would end its failure."""
    small_service.configure(buckets={MEDIA: "/no-such-provider"}, http={"port": 0}, retry={"first": 1, "longest": 1})
    with small_service.started() as service:
        service.wait_for("started")
        page = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}/status.json"

        def failing() -> list[str]:
            return [each["path"] for each in httpx.get(page, timeout=PATIENCE).json()["failing"]]

        small_service.announce_change()
        eventually(failing, lambda: f"a failure\n{service.everything}")
        small_service.configure(buckets=SHOWN)
        hang_up(service, "settings_reloaded")
        eventually(lambda: not failing(), lambda: f"no failure\n{service.everything}")
        assert service.stop() == 0


def test_log_levels_change_at_once(small_service):
    """Of the whole log, and of one module."""
    small_service.configure(log={"format": "json", "level": "info"})
    with small_service.started() as service:
        service.wait_for("started")
        small_service.configure(log={"format": "json", "level": "info", "levels": {"jibe_sqs.consuming": "debug"}})
        hang_up(service, "settings_reloaded")
        small_service.announce_change()
        service.wait_for("message_done")
        assert not service.events("access_anywhere_login")
        assert service.stop() == 0


def test_an_environment_variable_stays_stronger_than_the_file(small_service):
    """As at the start."""
    small_service.environment["JIBE_LOG__LEVEL"] = "debug"
    with small_service.started() as service:
        service.wait_for("started")
        small_service.configure(log={"format": "json", "level": "error"}, report={"interval": 7200})
        assert hang_up(service, "settings_reloaded")["changed"] == ["report.interval"]
        assert service.stop() == 0


def test_all_workers_take_what_the_supervisor_accepted_also_after_a_kill(small_service, load):
    """A worker that is killed while the file is wrong starts with the accepted settings. A wrong file must not stop it."""
    small_service.configure(
        workers=2,
        buckets=SHOWN,
        http={"port": 0},
        ledger={"path": str(small_service.folder / "workers.sqlite")},
        log={"format": "json", "level": "debug"},
    )
    with small_service.started() as service:
        for worker in (0, 1):
            service.wait_for("started", worker=worker)
        ready = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}/readyz"
        with load() as ids:
            small_service.configure(
                buckets=SHOWN | {PROJECTS: f"/Amazon S3 us-east-1/{PROJECTS}"}, limits={"messages_held": 500}
            )
            service.process.send_signal(signal.SIGHUP)
            for worker in (0, 1):
                reloaded = service.wait_for("settings_reloaded", worker=worker)
                assert reloaded["changed"] == [f"buckets.{PROJECTS}", "limits.messages_held"]
            service.wait_for("imported", worker=0)
            small_service.configure(buckets=7)
            assert "worker" not in hang_up(service, "settings_refused")
            warnings = httpx.get(ready, timeout=PATIENCE).json()["warnings"]
            assert any("the changed configuration is refused" in each and "buckets" in each for each in warnings)
            (began,) = service.events("worker_began", worker=1)
            os.kill(began["pid"], signal.SIGKILL)
            eventually(lambda: len(service.events("started", worker=1)) == 2, lambda: f"a start\n{service.everything}")
            before = len(service.events("message_done", worker=1))
            eventually(lambda: len(service.events("message_done", worker=1)) > before, "work of the new process")
        eventually(lambda: set(ids) <= done(service), lambda: f"all messages\n{service.everything}")
        assert service.stop() == 0
    assert not service.events("bucket_not_mapped", bucket=PROJECTS, worker=1)[1:]
    assert small_service.dead_letters() == 0
    assert "Traceback" not in service.output


def test_a_password_in_a_secret_file_needs_no_restart(small_service, tmp_path):
    """The secret file is one of those that Kubernetes mounts."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    configured = json.loads(small_service.config.read_text())["access_anywhere"]
    password = folder / "JIBE_ACCESS_ANYWHERE__PASSWORD"
    password.write_text(configured.pop("password"))
    small_service.configure(access_anywhere=configured)
    small_service.environment["JIBE_SECRETS_DIR"] = str(folder)
    with small_service.started() as service:
        service.wait_for("started")
        password.write_text("CANARY")
        assert hang_up(service, "settings_reloaded")["changed"] == ["access_anywhere.password"]
        assert "CANARY" not in service.output
        assert service.stop() == 0


def test_a_configmap_that_is_swapped_is_taken_without_a_signal(small_service):
    """Kubernetes replaces a link above the file. The service looks every minute."""
    folder = small_service.folder
    (folder / "..1").mkdir()
    small_service.config.rename(folder / "..1" / "small.json")
    (folder / "..data").symlink_to("..1")
    small_service.config.symlink_to("..data/small.json")
    with small_service.started() as service:
        service.wait_for("started")
        (folder / "..2").mkdir()
        changed = json.loads(small_service.config.read_text()) | {"ignore_keys": ["tmp/*"]}
        (folder / "..2" / "small.json").write_text(json.dumps(changed))
        (folder / "..new").symlink_to("..2")
        (folder / "..new").rename(folder / "..data")
        assert service.wait_for("settings_reloaded")["changed"] == ["ignore_keys"]
        assert service.stop() == 0


def test_a_configuration_in_parameter_store_is_read_again(small_service):
    """With the real program: a change is in force after SIGHUP, a mistake is refused, and the task never restarts."""
    ssm = aws_client(small_service.environment, "ssm", "us-east-1")
    name = f"/jibe/{small_service.folder.name}"

    def store() -> None:
        ssm.put_parameter(
            Name=name, Value=small_service.config.read_text(), Type="String", Overwrite=True, Tier="Advanced"
        )

    small_service.configure(buckets=SHOWN)
    store()
    arn = ssm.get_parameter(Name=name)["Parameter"]["ARN"]
    command = [sys.executable, "-m", "jibe_sqs", "run", "--config", arn]
    with started(command, small_service.folder, cwd=small_service.folder, env=small_service.environment) as service:
        service.wait_for("started")
        right = small_service.config.read_text()
        small_service.configure(limits={"messages_held": 0})
        store()
        assert any("limits.messages_held" in reason for reason in hang_up(service, "settings_refused")["reasons"])
        small_service.config.write_text(right)
        small_service.configure(buckets=SHOWN | {PROJECTS: f"/Amazon S3 us-east-1/{PROJECTS}"})
        store()
        assert hang_up(service, "settings_reloaded")["changed"] == [f"buckets.{PROJECTS}"]
        assert service.stop() == 0
        assert len(service.events("started")) == 1
