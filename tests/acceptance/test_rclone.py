"""rclone, an independent client, works with the sandbox's Access Anywhere."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.processes import PATIENCE, Finished, eventually, finished

from jibe_sqs.sandbox.access_anywhere import AccessAnywhereServer, MemoryStorage, Provider, create_app, serving

pytestmark = pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")

BUCKET = "Amazon S3 us-east-1/data"
OBJECTS = {
    "hello.txt": b"hello, world",
    "a space.txt": b"1",
    "plus+plus": b"22",
    "per%2Fcent%41.txt": b"333",
    "folder with space/ünïcödé 😀.txt": b"4444",
    "folder with space/deep/er/file": b"",
    "folder with space/empty/": b"",
    **{f"many/{n:04}": b"x" for n in range(1207)},
}
MADE = 1_700_000_000.0
Rclone = Callable[..., Finished]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage({"data": OBJECTS}, clock=lambda: MADE)


@dataclass
class Clock:
    """The system's time plus an offset."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Pause:
    """The server. If `armed`, two hours pass when a client requests the second page of a folder, once."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self.armed = False
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched() -> Message:
            message = await receive()
            if self.armed and b"from=1000" in message.get("body", b""):
                self.armed = False
                self._clock.ahead += 7200
            return message

        await self._app(scope, watched, send)


@pytest.fixture
def pause(storage: MemoryStorage) -> Pause:
    config = AccessAnywhereServer(
        login="jibe",
        password="password",
        permanent_token="permanent",
        recent_window=0,
        refresh_seconds=0,
        providers=(Provider("Amazon S3 us-east-1", buckets=("data",)),),
    )
    clock = Clock()
    return Pause(create_app(config, storage, clock=clock), clock)


@pytest.fixture
def endpoint(pause: Pause) -> Iterator[str]:
    """A server whose index is up to date."""
    with serving(pause) as url:
        with httpx.Client(base_url=url, timeout=PATIENCE) as http:
            body = {"function": "getTokenByAuthToken", "authtoken": "permanent"}
            token = http.post("/api/rpc.php", data=body).json()["token"]
            for folder in ("", "/many", "/folder with space", "/folder with space/deep", "/folder with space/deep/er"):
                refresh(http, token, BUCKET + folder)
        yield url


def refresh(http: httpx.Client, token: str, path: str) -> None:
    def call(function: str, **params: str) -> dict:
        return http.post("/api/rpc.php", data={"function": function, "token": token, **params}).json()

    asking = {"fi_pid": call("checkPathExists", path=path)["file"]["fi_id"], "refresh": "y", "refreshtype": "a"}
    job = call("getFolderContents", **asking)["refreshresult"]["token"]
    eventually(
        lambda: not call("getFolderContents", **asking, refreshtoken=job, count="1").get("stillsyncing"),
        f"the refresh of {path}",
    )


@pytest.fixture
def rclone(endpoint: str, tmp_path) -> Rclone:
    def run(*arguments: str, token: str = "permanent") -> Finished:
        server = ["--filefabric-url", endpoint, "--filefabric-permanent-token", token]
        command = ["rclone", "--config", str(tmp_path / "rclone.conf"), "--retries", "1", *server, *arguments]
        return finished(command)

    return run


def test_rclone_lists_the_whole_index_page_by_page(rclone):
    listed = rclone("lsjson", "-R", ":filefabric:")
    assert listed.returncode == 0, listed.stderr
    entries = json.loads(listed.stdout)
    files = {e["Path"]: e for e in entries if not e["IsDir"]}
    assert {path: e["Size"] for path, e in files.items()} == {
        f"{BUCKET}/{key}": len(body) for key, body in OBJECTS.items() if not key.endswith("/")
    }
    assert {datetime.fromisoformat(e["ModTime"]) for e in files.values()} == {datetime.fromtimestamp(MADE, UTC)}
    assert {e["Path"] for e in entries if e["IsDir"]} == {
        "Amazon S3 us-east-1",
        BUCKET,
        *(f"{BUCKET}/{name}" for name in ("many", "folder with space")),
        *(f"{BUCKET}/folder with space/{name}" for name in ("empty", "deep", "deep/er")),
    }


def test_rclone_lists_a_folder_in_any_case(rclone):
    listed = rclone("lsf", "-R", ":filefabric:amazon s3 us-east-1/Data/FOLDER with space")
    assert set(listed.stdout.splitlines()) == {"ünïcödé 😀.txt", "empty/", "deep/", "deep/er/", "deep/er/file"}


@pytest.mark.parametrize(
    "key", ["hello.txt", "a space.txt", "plus+plus", "per%2Fcent%41.txt", "folder with space/ünïcödé 😀.txt"]
)
def test_rclone_reads_a_file(rclone, key):
    read = rclone("cat", f":filefabric:{BUCKET}/{key}")
    assert (read.returncode, read.stdout.encode()) == (0, OBJECTS[key]), read.stderr


def test_rclone_reads_a_part_of_a_file(rclone):
    read = rclone("cat", "--offset", "7", "--count", "3", f":filefabric:{BUCKET}/hello.txt")
    assert (read.returncode, read.stdout) == (0, "wor"), read.stderr


def test_rclone_does_not_find_a_missing_file(rclone):
    assert rclone("cat", f":filefabric:{BUCKET}/nothing").returncode == 3


def test_a_file_uploaded_by_rclone_is_in_the_index_at_once(rclone, storage, tmp_path):
    (tmp_path / "report.csv").write_text("a,b\n")
    target = f":filefabric:{BUCKET}/many/report é+1.csv"
    sent = rclone("copyto", str(tmp_path / "report.csv"), target)
    assert sent.returncode == 0, sent.stderr
    assert storage.objects("data")["many/report é+1.csv"].size == 4
    assert rclone("cat", target).stdout == "a,b\n"


def test_rclone_cannot_log_in_with_a_wrong_token(rclone):
    refused = rclone("lsjson", ":filefabric:", token="wrong")
    assert refused.returncode != 0
    assert "login_fail" in refused.stderr


def test_rclone_fails_if_its_token_expires_during_a_listing(rclone, pause, endpoint):
    """The call with the expired token fails, and so does the command. rclone renews the token only for
    its next call.
    """
    pause.armed = True
    failed = rclone("lsf", f":filefabric:{BUCKET}/many")
    assert failed.returncode != 0
    assert "login_token_expired" in failed.stderr
    assert logins(endpoint) == 2


def test_rclone_with_a_retry_renews_a_token_that_expires_during_a_listing(rclone, pause, endpoint):
    pause.armed = True
    copied = rclone("copy", "--retries", "2", "--dry-run", "-v", f":filefabric:{BUCKET}/many", "/nowhere/to/be/found")
    assert copied.returncode == 0, copied.stderr
    assert not pause.armed
    assert "Attempt 1/2 failed" in copied.stderr
    assert {line.split(": ")[1] for line in copied.stderr.splitlines() if "Skipped copy" in line} == {
        f"{n:04}" for n in range(1207)
    }
    assert logins(endpoint) == 3


def test_rclone_lists_the_whole_index_despite_faults(rclone, endpoint):
    faults = {
        "seed": 3,
        "too_many_requests": {"rate": 0.2},
        "server_error": {"rate": 0.2, "retry_after": 0},
        "resets": {"rate": 0.1},
        "slow": {"rate": 0.2, "seconds": 0.05},
    }
    httpx.put(f"{endpoint}/sandbox/faults", json=faults, timeout=PATIENCE).raise_for_status()
    listed = rclone("lsf", "-R", "--files-only", ":filefabric:")
    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.splitlines()) == {f"{BUCKET}/{key}" for key in OBJECTS if not key.endswith("/")}
    counts = httpx.get(f"{endpoint}/sandbox/stats", timeout=PATIENCE).json()["faults"]
    assert {"too_many_requests", "server_error", "resets"} <= counts.keys()


def test_rclone_reports_a_download_that_ends_early(rclone, endpoint):
    httpx.put(f"{endpoint}/sandbox/faults", json={"truncated_downloads": {}}, timeout=PATIENCE).raise_for_status()
    read = rclone("cat", f":filefabric:{BUCKET}/hello.txt")
    assert read.returncode != 0
    assert "unexpected EOF" in read.stderr
    assert read.stdout == "hello,"


def logins(endpoint: str) -> int:
    """Successful logins, including the one of this module's fixture."""
    return httpx.get(f"{endpoint}/sandbox/stats", timeout=PATIENCE).json()["logins"]
