"""Reports in a folder of Access Anywhere, over a socket to the sandbox's server."""

import httpx
import pytest
from tests.clocks import SystemClock

from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.access_anywhere.uses.reports import ReportFolder
from jibe_sqs.core.errors import FolderUnknown

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

FOLDER = "/Amazon S3/reports/jibe"


@pytest.fixture
async def server():
    provider = sandbox.Provider("Amazon S3", buckets=("reports",))
    config = sandbox.AccessAnywhereServer(
        login="jibe", password="pass word", permanent_token="permanent", providers=(provider,), refresh_seconds=0
    )
    bucket = sandbox.MemoryStorage({"reports": {"jibe/readme.txt": b"reports go here"}})
    with sandbox.serving(sandbox.create_app(config, bucket)) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            for path in ("/Amazon S3/reports", FOLDER):
                found = await client.check_path(path)
                await client.refresh_folder(found.id)
            yield client, url


async def keys(url: str) -> set[str]:
    async with httpx.AsyncClient() as http:
        return {file["key"] for file in (await http.get(f"{url}/sandbox/index")).json()}


async def test_each_report_is_a_file_in_the_folder(server):
    client, url = server
    reports = ReportFolder(client, FOLDER)
    for minute in ("00", "15"):
        await reports.store(f"jibe-report-2026-01-01T00-{minute}Z.txt", "All\n  ä\n".encode())
    assert await keys(url) == {
        "jibe/readme.txt",
        "jibe/jibe-report-2026-01-01T00-00Z.txt",
        "jibe/jibe-report-2026-01-01T00-15Z.txt",
    }


@pytest.mark.parametrize("folder", ["/Amazon S3/reports/none", "/Nothing", f"{FOLDER}/readme.txt"])
async def test_a_missing_folder_is_not_created(server, folder):
    client, url = server
    with pytest.raises(FolderUnknown, match=f"{folder}: .*create it.*report.folder"):
        await ReportFolder(client, folder).store("report.txt", b"report")
    assert await keys(url) == {"jibe/readme.txt"}
