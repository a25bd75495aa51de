"""rclone changes files through Access Anywhere, while jibe-sqs reads the CloudTrail records of these changes.

Access Anywhere itself makes each change, in S3 and in its index. CloudTrail logs it with Access Anywhere's identity.
jibe-sqs must skip each such record as an own write: no folder is refreshed, and the index still equals S3.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Finished, eventually, finished

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.s3_calls import ACCESS_ANYWHERE, CallKind, S3Call
from jibe_sqs.sandbox.counts import summed_reports, waiting_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.logged_calls import own_calls
from jibe_sqs.sandbox.world import World

pytestmark = pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")

MEDIA, PROJECTS = "jibe-sandbox-us-east-1-media", "jibe-sandbox-us-east-1-projects"
HERE = f"aa:Amazon S3 us-east-1/{MEDIA}"
BESIDE = f"aa:Amazon S3 us-east-1/{PROJECTS}"
ELSEWHERE = "aa:Amazon S3 eu-west-1/jibe-sandbox-eu-west-1-media"
FILES = {"a.txt": "a", "b c+d.txt": "bb", "e/é.txt": "ccc", "e/f/g.txt": "dddd"}


class User:
    """A user of Access Anywhere with rclone. `world` has a consumer, and an index that equals S3."""

    def __init__(self, running: World, log: Path, folder: Path) -> None:
        self.world = running
        self.own_calls = own_calls(running)
        self.folder = folder
        self._log = log
        self._config = folder / "rclone.conf"
        lines = ["[aa]", "type = filefabric", f"url = {running.access_anywhere}"]
        self._config.write_text("\n".join([*lines, f"permanent_token = {running.permanent_token}", ""]))

    def rclone(self, *arguments: str) -> Finished:
        return finished(["rclone", "--config", str(self._config), "--retries", "1", *arguments])

    def does(self, *arguments: str) -> list[str]:
        """Run rclone, and wait until the consumer has read the records that the trail logs for it. Returns the calls to
        S3.

        Asserts what must hold after every command.
        """
        refreshes, own = self.refreshes(), self.skipped("own-write")
        done = self.rclone(*arguments)
        assert done.returncode == 0, done.stderr
        eventually(lambda: not self.at_work(), "the end of Access Anywhere's background tasks")
        assert differences(self.world).examples() == []
        writes = self.own_calls.deliver()
        eventually(lambda: self.skipped("own-write") >= own + len(writes), "the consumer has read the records")
        eventually(lambda: not waiting_messages(self.world), "the consumer has acknowledged the messages")
        assert self.refreshes() == refreshes
        assert differences(self.world).examples() == []
        return [f"{write['kind']} {key}" for write in writes for key in write["keys"]]

    def listed(self, path: str) -> set[str]:
        listing = self.rclone("lsf", "-R", "--files-only", path)
        return set(listing.stdout.splitlines())

    def refreshes(self) -> int:
        """The number of refreshes that the server has completed."""
        count: int = self.world.get_state("stats")["refreshes"]
        return count

    def skipped(self, reason: str) -> int:
        """The number of skipped records with this reason, from the consumer's last report."""
        count: int = summed_reports([self._log]).get("skipped", {}).get(reason, 0)
        return count

    def at_work(self) -> bool:
        return any(task["status"] in "aw" for task in self.world.get_state("tasks"))

    def files(self, **contents: str) -> str:
        """A local folder with these files. Default: `FILES`."""
        local = self.folder / "local"
        shutil.rmtree(local, ignore_errors=True)
        for name, text in (contents or FILES).items():
            path = local / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return str(local)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    folder = tmp_path_factory.mktemp("user")
    log = folder / "consumer.log"
    with ExitStack() as stack:
        running = stack.enter_context(world.running(seed=7, progress_interval=0.5))
        stack.enter_context(world.consumer(running, stack.enter_context(log.open("wb"))))
        # The messages and the zero-byte object from the start of the trail.
        eventually(
            lambda: summed_reports([log]).get("messages", 0) and not waiting_messages(running), "a consumer at work"
        )
        yield User(running, log, folder)


@pytest.fixture
def there(user: User, request: pytest.FixtureRequest) -> str:
    """The name of a folder in the first bucket. Its files were copied there through Access Anywhere."""
    name = request.node.name.replace("[", "-").strip("]")
    user.does("copy", user.files(), f"{HERE}/{name}")
    return name


def test_copying_local_files_into_a_bucket(user):
    calls = user.does("copy", user.files(), f"{HERE}/copied")
    assert sorted(calls) == sorted(f"put copied/{name}" for name in FILES)
    assert user.listed(f"{HERE}/copied") == set(FILES)


def test_copying_one_file_twice_leaves_the_first_in_the_trash(user):
    local = user.files(**{"x.txt": "first"})
    assert user.does("copyto", f"{local}/x.txt", f"{HERE}/one/y.txt") == ["put one/y.txt"]
    local = user.files(**{"x.txt": "and the second"})
    calls = user.does("copyto", f"{local}/x.txt", f"{HERE}/one/y.txt")
    assert calls == ["copy .trash/y.txt", "delete one/y.txt", "put one/y.txt"]
    assert user.rclone("cat", f"{HERE}/one/y.txt").stdout == "and the second"


def test_copying_within_access_anywhere(user, there):
    calls = user.does("copy", f"{HERE}/{there}", f"{HERE}/{there}-2")
    assert sorted(calls) == sorted(f"copy {there}-2/{name}" for name in FILES)
    assert user.listed(f"{HERE}/{there}-2") == set(FILES)


def test_renaming_a_file(user, there):
    calls = user.does("moveto", f"{HERE}/{there}/a.txt", f"{HERE}/{there}/z é+%2B.txt")
    assert calls == [f"copy {there}/z é+%2B.txt", f"delete {there}/a.txt"]


def test_moving_a_file_to_another_folder_under_another_name(user, there):
    user.does("moveto", f"{HERE}/{there}/a.txt", f"{HERE}/{there}/e/z.txt")
    assert user.listed(f"{HERE}/{there}") == {"b c+d.txt", "e/é.txt", "e/z.txt", "e/f/g.txt"}


@pytest.mark.parametrize("target", [BESIDE, ELSEWHERE], ids=["the same region", "another region"])
def test_moving_a_file_to_another_bucket(user, there, target):
    calls = user.does("move", f"{HERE}/{there}/a.txt", f"{target}/{there}")
    assert calls == [f"copy {there}/a.txt", f"delete {there}/a.txt"]
    assert user.listed(f"{target}/{there}") == {"a.txt"}


def test_moving_a_file_over_another_one(user, there):
    user.does("moveto", f"{HERE}/{there}/a.txt", f"{HERE}/{there}/e/é.txt")
    assert user.rclone("cat", f"{HERE}/{there}/e/é.txt").stdout == "a"


@pytest.mark.parametrize("target", [HERE, ELSEWHERE], ids=["the same bucket", "another region"])
def test_moving_a_folder(user, there, target):
    calls = user.does("moveto", f"{HERE}/{there}", f"{target}/moved/{there}")
    assert sorted(calls[:4]) == sorted(f"copy moved/{there}/{name}" for name in FILES)
    assert sorted(calls[4:]) == sorted(f"delete-many {there}/{name}" for name in FILES)
    assert user.listed(f"{target}/moved/{there}") == set(FILES)


def test_deleting_a_file(user, there):
    calls = user.does("deletefile", f"{HERE}/{there}/a.txt")
    assert calls[1:] == [f"delete {there}/a.txt"]
    assert calls[0].startswith("copy .trash/a.txt")
    assert user.rclone("lsf", f"{HERE}/{there}/a.txt").stdout == ""


def test_deleting_files_and_then_the_empty_folders(user, there):
    user.does("delete", f"{HERE}/{there}")
    assert user.listed(f"{HERE}/{there}") == set()
    assert user.does("rmdirs", f"{HERE}/{there}") == []
    assert f"{there}/" not in user.rclone("lsf", HERE).stdout.splitlines()


def test_making_and_removing_an_empty_folder(user):
    assert user.does("mkdir", f"{HERE}/made/below") == []
    assert "below/" in user.rclone("lsf", f"{HERE}/made").stdout.splitlines()
    assert user.does("rmdirs", f"{HERE}/made") == []


def test_purging_a_folder_deletes_in_bulk_and_the_record_without_keys_refreshes_nothing(user, there):
    """CloudTrail's record of a bulk delete has no keys. If others made it, the whole bucket would be stale."""
    calls = user.does("purge", f"{HERE}/{there}")
    assert sorted(call for call in calls if call.startswith("delete")) == sorted(
        f"delete-many {there}/{name}" for name in FILES
    )
    assert user.listed(f"{HERE}/{there}") == set()


def test_emptying_the_trash(user, there):
    user.does("purge", f"{HERE}/{there}")
    assert any(key.startswith(".trash/") for key in stored(user, MEDIA))
    calls = user.does("cleanup", "aa:")
    assert calls
    assert all(call.startswith(("delete .trash/", "delete-many .trash/")) for call in calls)
    assert not any(key.startswith(".trash/") for key in stored(user, MEDIA))


def test_the_records_have_access_anywheres_identity(user, there):
    before = len(user.world.publishers.files)
    user.does("deletefile", f"{HERE}/{there}/a.txt")
    fresh = user.world.publishers.files[before:]
    found = [record for key in fresh for record in logged(user, key)]
    own = [record for record in found if record["userIdentity"].get("userName") == ACCESS_ANYWHERE]
    assert {record["eventName"] for record in own} == {"CopyObject", "DeleteObject"}
    assert all(record in own or record["userIdentity"]["type"] == "AWSService" for record in found)


def test_changes_by_others_to_the_same_files_are_refreshed(user, there):
    """The consumer skips only the changes that Access Anywhere made itself."""
    s3, key = user.world.deployment.client("s3"), f"{there}/a.txt"
    ana = records.iam_user("ana", account=user.world.deployment.account, access_key="AKIAANAANAANAANAANA0")
    refreshes = user.refreshes()
    s3.delete_object(Bucket=MEDIA, Key=key)
    assert differences(user.world).count
    now = s3.head_object(Bucket=MEDIA, Key=f"{there}/b c+d.txt")["LastModified"].timestamp() + 1
    about: dict[str, Any] = {"bucket": MEDIA, "region": "us-east-1", "account": user.world.deployment.account}
    user.world.publishers.record(S3Call(kind=CallKind.DELETE, caller=ana, began=now, at=now, keys=(key,), **about))
    user.world.publishers.deliver()
    eventually(lambda: not differences(user.world).count, "the index is up to date")
    assert user.refreshes() > refreshes


def stored(user: User, bucket: str) -> set[str]:
    listed = user.world.deployment.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"] for item in listed}


def logged(user: User, key: str) -> list[dict[str, Any]]:
    s3 = user.world.deployment.client("s3")
    body = s3.get_object(Bucket=user.world.deployment.log_bucket, Key=key)["Body"].read()
    found: list[dict[str, Any]] = json.loads(gzip.decompress(body))["Records"]
    return found
