"""The functions of Access Anywhere that jibe-sqs calls. It calls no function that changes customers' files."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.clocks import SystemClock

import jibe_sqs
from jibe_sqs.adapters.access_anywhere import Providers, ReportFolder, connect
from jibe_sqs.adapters.access_anywhere.uses.provider_event import ProviderEventTarget
from jibe_sqs.core.errors import SettingsError

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

READS = {
    *("getToken", "gettoken", "getTokenByAuthToken", "getApplianceInfo"),
    *("checkPathExists", "getFolderContents", "getFile", "getUserBackgroundTasks"),
}
REFRESHES = {"syncOnProviderEvent"}
UPLOADS = {"doInitUpload", "doCompleteUpload", "doAbortUpload"}
"""These upload jibe-sqs's own reports into their own folder."""
ALLOWED = READS | REFRESHES | UPLOADS

FUNCTION = re.compile(r"(get|do|check|empty|sync|set|add)[A-Z]\w*|get(token|file)", re.ASCII)


def functions_named_in(source: str) -> set[str]:
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {text for text in constants if isinstance(text, str) and FUNCTION.fullmatch(text)}


def test_the_program_names_no_other_function():
    package = Path(jibe_sqs.__file__).parent
    files = [path for path in package.rglob("*.py") if "sandbox" not in path.relative_to(package).parts]
    named = {name for path in files for name in functions_named_in(path.read_text(encoding="utf-8"))}
    assert "getFolderContents" in named
    assert named <= ALLOWED


def test_the_search_finds_a_function_name():
    assert functions_named_in('call("doDeleteFile", {})\ncall("emptyTrash")\n"done"') == {"doDeleteFile", "emptyTrash"}


async def test_the_client_at_work_calls_no_other_function():
    provider = sandbox.Provider("S3", buckets=("data",))
    config = sandbox.AccessAnywhereServer(
        login="jibe", password="p", permanent_token="permanent", providers=(provider,), refresh_seconds=0
    )
    storage = sandbox.MemoryStorage({"data": {"a/one": b"1"}})
    called: Counter[str] = Counter()
    with sandbox.serving(sandbox.create_app(config, storage)) as url:
        async with connect(endpoint=url, permanent_token="permanent", clock=SystemClock()) as client:
            await client.version()
            await Providers(client).places()
            await Providers(client).synced(["S3"])
            for path in ("/S3/data", "/S3/data/a"):
                folder = await client.check_path(path)
                await client.refresh_folder(folder.id)
                await client.subfolders(folder.id)
            file = await client.check_path("/S3/data/a/one")
            async with client.download(file.id) as download:
                assert b"".join([chunk async for chunk in download]) == b"1"
            await ReportFolder(client, "/S3/data/a").store("report.txt", b"report")
            called = client.calls
    assert "getUserBackgroundTasks" in called
    assert set(called) <= ALLOWED | {"uploader"}


@pytest.mark.parametrize("function", ["doDeleteFile", "DODELETEFOLDER", " doMoveFiles", "emptyTrashInBackground"])
def test_a_function_that_changes_files_cannot_be_configured(function):
    with pytest.raises(SettingsError, match="changes customers' files"):
        ProviderEventTarget(None, function=function, parameters={"key": "{key}"}, slots=None)
