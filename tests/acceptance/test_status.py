"""`jibe-sqs status` says how the running service is."""

import json

import httpx
from tests.acceptance.conftest import COMMAND, SmallService
from tests.processes import PATIENCE, Finished, eventually, finished


def status(service: SmallService, *arguments: str) -> Finished:
    return asked(service, "status", *arguments)


def asked(service: SmallService, *arguments: str) -> Finished:
    command = [*COMMAND, *arguments, "--config", str(service.config)]
    return finished(command, cwd=service.folder, env=service.environment)


def test_the_status_follows_the_work_and_says_when_access_anywhere_is_down(sandbox, small_service):
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    ended = status(small_service)
    assert ended.returncode == 1
    assert "no service answers at" in ended.stderr
    with small_service.started() as service:
        service.wait_for("started")
        small_service.announce_change()
        small_service.send("no announcement")
        eventually(lambda: not small_service.messages(), "the end of both messages")
        found = json.loads(status(small_service, "--json").stdout)
        assert (found["state"], found["stage"], found["messages_held"]) == ("trouble", "running", 0)
        assert found["sentence"].startswith("In sync; ")
        assert found["sentence"].endswith("; 1 new dead letter")
        assert sum(minute["events"] for minute in found["minutes"]) == 1
        assert found["totals"]["done"] == 1
        assert [each["error"] for each in found["dead_letters"]] == ["AnnouncementMalformed"]
        assert found["access_anywhere"]["calls"]

        httpx.put(faults, json={"down": {}}, timeout=PATIENCE).raise_for_status()
        try:
            small_service.announce_change()
            ended = eventually(
                lambda: (one := status(small_service)) and "is down" in one.stdout and one, "the outage in the status"
            )
            assert ended.returncode == 1
            assert ended.stdout.splitlines()[0].startswith("Access Anywhere is down for ")
            assert "1 message waits" in ended.stdout.splitlines()[0]
        finally:
            httpx.delete(faults, timeout=PATIENCE).raise_for_status()
        eventually(lambda: status(small_service).stdout.startswith("In sync; "), "the end of the outage")

        # The service goes on with the configuration from before.
        small_service.configure(buckets=7)
        ended = status(small_service)
        assert (ended.returncode, ended.stdout.partition(";")[0], ended.stderr) == (1, "In sync", "")
        for command in (["pause", "--for", "1h"], ["resume"]):
            assert asked(small_service, *command).returncode == 0, command
        assert service.stop() == 0
    ended = status(small_service)
    assert ended.returncode == 2
    assert "buckets" in ended.stderr
