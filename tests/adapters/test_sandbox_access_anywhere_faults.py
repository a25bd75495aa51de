"""The faults of the sandbox's Access Anywhere: in process, and over a socket for faults that break a connection."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest
from tests.clocks import ServersClock
from tests.processes import PATIENCE
from tests.rpc import Rpc, callback_of, refreshed

from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    Down,
    ErrorBackground,
    ExpiredTokens,
    Faults,
    FoldersTooLarge,
    InProcess,
    MemoryStorage,
    Provider,
    Resets,
    ServerError,
    Slow,
    StorageError,
    SyncInProgress,
    TooManyRequests,
    TruncatedDownloads,
    create_app,
    serving,
)

CONFIG = AccessAnywhereServer(
    login="jibe",
    password="p",
    permanent_token="permanent",
    recent_window=0,
    refresh_seconds=0,
    providers=(Provider("P", buckets=("data",)),),
)


class Client(Rpc):
    async def id_of(self, path: str) -> str:
        return (await self.call("checkPathExists", path=path))["file"]["fi_id"]

    async def ask_refresh(self, fi_id: str) -> str:
        return (await self.call("getFolderContents", fi_pid=fi_id, refresh="y", refreshtype="a"))["refreshresult"][
            "token"
        ]

    async def refresh(self, path: str) -> dict[str, Any]:
        token = await self.ask_refresh(await self.id_of(path))
        return await refreshed(lambda: self.call("getFolderContents", refreshtoken=token))

    async def set_faults(self, faults: Faults) -> None:
        answer = await self.http.put("/sandbox/faults", content=msgspec.json.encode(faults))
        assert answer.status_code == 200, answer.text

    async def clear(self) -> None:
        await self.http.delete("/sandbox/faults")

    async def stats(self) -> dict[str, Any]:
        return (await self.http.get("/sandbox/stats")).json()

    async def fault_counts(self) -> dict[str, int]:
        return (await self.stats())["faults"]

    async def outcome(self, function: str = "getApplianceInfo", **params: Any) -> int | str:
        """The HTTP status if it is not 200, otherwise the code in the body; for a broken connection,
        the error's name.
        """
        try:
            answer = await self.post(function, **params)
        except httpx.TransportError as e:
            return type(e).__name__
        return answer.status_code if answer.status_code != 200 else answer.json()["status"]

    async def outcomes(self, times: int, function: str = "getApplianceInfo", **params: Any) -> list[int | str]:
        return [await self.outcome(function, **params) for _ in range(times)]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage({"data": {"top.txt": b"0123456789", "a/one.txt": b"one"}})


@asynccontextmanager
async def at_hand(storage: Any, config: AccessAnywhereServer = CONFIG, **more: Any) -> AsyncIterator[Client]:
    transport = InProcess(create_app(config, storage, **more))
    async with httpx.AsyncClient(transport=transport, base_url="http://aa", timeout=PATIENCE) as http:
        yield Client(http)


@asynccontextmanager
async def over_a_socket(storage: Any, config: AccessAnywhereServer = CONFIG) -> AsyncIterator[Client]:
    with serving(create_app(config, storage)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
            yield await Client(http).log_in()


async def test_faults_can_be_set_read_and_cleared(storage):
    async with at_hand(storage) as aa:
        assert (await aa.http.get("/sandbox/faults")).json() == msgspec.to_builtins(Faults())
        answer = await aa.http.post(
            "/sandbox/faults", json={"too_many_requests": {}, "slow": {"rate": 0, "seconds": 9}}
        )
        assert answer.json()["too_many_requests"] == {"rate": 1.0, "retry_after": None}
        assert await aa.outcomes(2) == [429, 429]
        # This replaces all faults.
        await aa.set_faults(Faults(server_error=ServerError()))
        assert await aa.outcome() == 500
        assert (await aa.http.delete("/sandbox/faults")).json() == msgspec.to_builtins(Faults())
        assert await aa.outcome() == "ok"
        assert await aa.fault_counts() == {"too_many_requests": 2, "server_error": 1}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('{"slow": {"rate": 2}}', "rate"),
        ('{"slwo": {}}', "slwo"),
        ('{"slow": {"minutes": 1}}', "minutes"),
        ("{", "truncated"),
    ],
)
async def test_invalid_faults_are_refused_with_the_name_of_the_wrong_field(storage, wrong, named):
    async with at_hand(storage) as aa:
        answer = await aa.http.put("/sandbox/faults", content=wrong)
        assert answer.status_code == 400
        assert named in answer.json()["error"]
        assert await aa.outcome() == "ok"


async def test_the_settings_can_contain_faults(storage, tmp_path):
    (tmp_path / "aa.json").write_text('{"login": "a", "password": "b", "faults": {"too_many_requests": {"rate": 1}}}')
    async with at_hand(storage, AccessAnywhereServer.read(tmp_path / "aa.json")) as aa:
        assert await aa.outcome() == 429


async def test_the_same_seed_gives_the_same_faults_and_another_seed_gives_others(storage):
    runs = []
    for seed in (1, 1, 2):
        async with at_hand(storage) as aa:
            await aa.set_faults(
                Faults(seed=seed, server_error=ServerError(rate=0.3), too_many_requests=TooManyRequests(rate=0.3))
            )
            runs.append(await aa.outcomes(60))
    assert runs[0] == runs[1] != runs[2]
    assert {"ok", 429, 500, 502, 503, 504} == set(runs[0])


async def test_a_fault_hits_the_same_calls_with_and_without_other_faults(storage):
    hits = []
    for others in ({}, {"slow": Slow(rate=0.5, seconds=0), "server_error": ServerError(rate=0.5)}):
        async with at_hand(storage) as aa:
            await aa.set_faults(Faults(too_many_requests=TooManyRequests(rate=0.3), **others))
            hits.append([n for n, outcome in enumerate(await aa.outcomes(40)) if outcome == 429])
    assert hits[0] == hits[1] != []


async def test_a_rate_is_the_share_of_calls_that_fail(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(too_many_requests=TooManyRequests(rate=0.2)))
        assert 60 <= (await aa.outcomes(400)).count(429) <= 100


async def test_slow_calls_are_delayed_and_succeed(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(slow=Slow(seconds=0.2)))
        began = time.monotonic()
        assert await aa.outcome() == "ok"
        assert time.monotonic() - began >= 0.2
        assert await aa.fault_counts() == {"slow": 1}


async def test_429_and_503_have_a_retry_after_header_if_configured(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(too_many_requests=TooManyRequests(retry_after=7)))
        assert (await aa.post("getApplianceInfo")).headers["retry-after"] == "7"
        await aa.set_faults(Faults(too_many_requests=TooManyRequests()))
        assert "retry-after" not in (await aa.post("getApplianceInfo")).headers
        await aa.set_faults(Faults(server_error=ServerError(retry_after=3)))
        answers = [await aa.post("getApplianceInfo") for _ in range(4)]
        assert [(a.status_code, a.headers.get("retry-after")) for a in answers] == [
            (500, None),
            (502, None),
            (503, "3"),
            (504, None),
        ]
        assert {a.headers["content-type"].partition(";")[0] for a in answers} == {"text/html"}


@pytest.mark.parametrize("faults", [Faults(server_error=ServerError()), Faults(resets=Resets())])
async def test_every_second_call_with_a_lost_answer_takes_effect(storage, faults):
    async with at_hand(storage) as aa:
        await aa.set_faults(faults)
        for done in (0, 1, 1, 2):
            assert await aa.outcome("getTokenByAuthToken", authtoken="permanent") != "ok"
            assert (await aa.stats())["logins"] == done


@pytest.mark.parametrize(
    "faults",
    [Faults(too_many_requests=TooManyRequests()), Faults(error_background=ErrorBackground()), Faults(down=Down())],
)
async def test_a_call_that_is_refused_has_no_effect(storage, faults):
    async with at_hand(storage) as aa:
        await aa.log_in()
        bucket = await aa.id_of("/P/data")
        await aa.set_faults(faults)
        for _ in range(4):
            assert await aa.outcome("doCreateNewFolder", fi_pid=bucket, fi_name="new") != "ok"
        await aa.clear()
        assert (await aa.call("checkPathExists", path="/P/data/new"))["exists"] == "n"


async def test_the_answer_to_a_completed_upload_can_be_lost(storage):
    async with at_hand(storage) as aa:
        await aa.log_in()
        code = (await aa.call("doInitUpload", fi_name="new", fi_pid=await aa.id_of("/P/data")))["uploadcode"]
        await aa.http.put(f"/cgi-bin/uploader/uploader1.cgi?{code}", content=b"new")
        await aa.set_faults(Faults(resets=Resets()))
        for there in (False, True):
            assert await aa.outcome("doCompleteUpload", uploadcode=code) == "ReadError"
            assert ("new" in storage.objects("data")) == there
        await aa.clear()
        assert (await aa.call("doCompleteUpload", uploadcode=code))["status"] == "upload_not_found"


async def test_faults_also_hit_the_uploader(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(too_many_requests=TooManyRequests()))
        assert (await aa.http.post("/cgi-bin/uploader/uploader1.cgi?code")).status_code == 429


async def test_error_background_hits_only_calls_that_need_a_login(storage):
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.set_faults(Faults(error_background=ErrorBackground()))
        assert await aa.outcome("getFolderContents") == "error_background"
        assert await aa.outcome("getApplianceInfo", token="*") == "ok"
        assert await aa.outcome("getTokenByAuthToken", token="*", authtoken="permanent") == "ok"
        download = await aa.post("getFile", fi_id="1")
        assert download.headers["X-NAA-DOWNLOAD-ERROR-STATUS"] == "error_background"


async def test_a_forgotten_token_stays_forgotten(storage):
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.set_faults(Faults(expired_tokens=ExpiredTokens()))
        assert await aa.outcome("getFolderContents") == "login_token_expired"
        assert await aa.outcome("getTokenByAuthToken", token="*", authtoken="permanent") == "ok"
        await aa.clear()
        assert await aa.outcome("getFolderContents") == "login_token_expired"
        await aa.log_in()
        assert await aa.outcome("getFolderContents") == "ok"


async def test_failures_go_through_all_kinds_in_turn(storage):
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.set_faults(Faults(failures=1))
        met = await aa.outcomes(10, "getFolderContents")
        assert met[:5] == [429, 500, "ReadError", "error_background", "login_token_expired"]
        assert met[5:] == [429, 502, "ReadError", "error_background", "login_token_expired"]
        assert await aa.fault_counts() == dict.fromkeys(
            ("too_many_requests", "server_error", "resets", "error_background", "expired_tokens"), 2
        )


async def test_calls_without_a_login_get_no_failures_of_sessions(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(failures=1))
        assert await aa.outcomes(6) == [429, 500, "ReadError", 429, 502, "ReadError"]


async def test_an_outage_lasts_until_it_is_cleared(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(down=Down()))
        assert await aa.outcomes(3) == [503] * 3
        assert (await aa.http.post("/cgi-bin/uploader/uploader1.cgi?x")).status_code == 503
        assert (await aa.http.get("/sandbox/index")).status_code == 200
        await aa.set_faults(Faults(down=Down(reset=True)))
        assert await aa.outcome() == "ReadError"
        await aa.clear()
        assert await aa.outcome() == "ok"


async def test_an_outage_with_a_duration_ends_by_itself(storage):
    clock = ServersClock()
    async with at_hand(storage, clock=clock) as aa:
        await aa.set_faults(Faults(down=Down(seconds=15)))
        clock.time += 14.9
        assert await aa.outcome() == 503
        clock.time += 0.1
        assert await aa.outcome() == "ok"
        assert await aa.fault_counts() == {"down": 1}


async def test_the_refresh_of_a_large_folder_is_refused_and_of_a_small_one_is_not(storage):
    for n in range(5):
        storage.put("data", f"a/{n}")
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.refresh("/P/data")
        await aa.set_faults(Faults(folders_too_large=FoldersTooLarge(most=5, refuse=True)))
        assert (await aa.refresh("/P/data"))["status"] == "ok"
        assert (await aa.refresh("/P/data/a"))["status"] == "folder_too_large"
        storage.delete("data", "a/0")
        assert (await aa.refresh("/P/data/a"))["status"] == "ok"
        assert await aa.fault_counts() == {"folders_too_large": 1}


async def test_the_refresh_of_a_large_folder_takes_time_by_its_size(storage):
    for n in range(19):
        storage.put("data", f"a/{n}")
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.refresh("/P/data")
        await aa.set_faults(Faults(folders_too_large=FoldersTooLarge(most=10, seconds_per_thousand=10)))
        assert (await aa.refresh("/P/data/a"))["status"] == "ok"
        _, large = (await aa.http.get("/sandbox/refreshes")).json()
        assert large["done"] - large["listed"] >= 0.2


async def test_while_a_sync_is_in_progress_its_task_is_working_and_refreshes_complete(storage):
    faults = Faults(sync_in_progress=SyncInProgress(providers=("P",)))
    async with at_hand(storage, replace(CONFIG, faults=faults)) as aa:
        await aa.log_in()

        async def syncs(status: str) -> list[str]:
            answer = await aa.call("getUserBackgroundTasks", statusfilter=status, limit=100)
            found = [callback_of(task) for task in answer["response"]["tasks"]]
            return [callback for callback in found if callback != "FolderRefresh"]

        async with asyncio.timeout(60):
            while await syncs("w") != ["ReSync"]:
                await asyncio.sleep(0)
        storage.put("data", "late.txt")
        assert (await aa.refresh("/P/data"))["status"] == "ok"
        assert {f["key"] for f in (await aa.http.get("/sandbox/index")).json()} == {"top.txt", "late.txt"}
        await aa.clear()
        async with asyncio.timeout(60):
            while await syncs("w"):
                await asyncio.sleep(0)
        assert await syncs("c") == ["ReSync", "InitialSync"]
        # The sync shows what existed when it began, and keeps what a refresh found later.
        assert {f["key"] for f in (await aa.http.get("/sandbox/index")).json()} == {"top.txt", "late.txt", "a/one.txt"}


async def test_a_reset_is_an_error_of_the_connection(storage):
    async with over_a_socket(storage) as aa:
        await aa.set_faults(Faults(resets=Resets()))
        for _ in range(4):
            with pytest.raises((httpx.ReadError, httpx.WriteError)):
                await aa.post("getFolderContents")
        await aa.clear()
        assert await aa.outcome("getFolderContents") == "ok"
        assert await aa.fault_counts() == {"resets": 4}


async def test_a_reset_breaks_only_its_own_connection(storage):
    async with over_a_socket(storage) as aa:
        await aa.set_faults(Faults(slow=Slow(seconds=0.1), resets=Resets(rate=0.5)))
        met = await asyncio.gather(*(aa.outcome() for _ in range(40)))
        assert set(met) == {"ok", "ReadError"}
        assert met.count("ReadError") == (await aa.fault_counts())["resets"]


async def test_a_truncated_download_has_fewer_bytes_than_promised(storage):
    async with over_a_socket(storage) as aa:
        await aa.refresh("/P/data")
        form = {"function": "getFile", "token": aa.token, "fi_id": await aa.id_of("/P/data/top.txt")}
        await aa.set_faults(Faults(truncated_downloads=TruncatedDownloads()))
        got = bytearray()

        async def download() -> None:
            async with aa.http.stream("POST", "/api/rpc.php", data=form) as answer:
                assert answer.headers["content-length"] == "10"
                async for chunk in answer.aiter_bytes():
                    got.extend(chunk)

        with pytest.raises(httpx.RemoteProtocolError):
            await download()
        assert got == b"01234"
        assert await aa.outcome("getFolderContents") == "ok"
        await aa.clear()
        assert (await aa.http.post("/api/rpc.php", data=form)).content == b"0123456789"
        assert await aa.fault_counts() == {"truncated_downloads": 1}


async def test_a_download_ends_early_if_s3_fails_in_the_middle(storage):
    """This is not an injected fault: Access Anywhere closes the connection if S3 fails in the middle of a download."""

    class Failing(MemoryStorage):
        async def read(self, bucket: str, key: str, span: str | None = None) -> Any:
            piece = await super().read(bucket, key, span)

            async def some():
                yield b"012"
                raise StorageError("SlowDown", "Please reduce your request rate")

            return replace(piece, chunks=some())

    async with over_a_socket(Failing({"data": {"top.txt": b"0123456789"}})) as aa:
        await aa.refresh("/P/data")
        form = {"function": "getFile", "token": aa.token, "fi_id": await aa.id_of("/P/data/top.txt")}
        with pytest.raises(httpx.RemoteProtocolError):
            await aa.http.post("/api/rpc.php", data=form)


async def test_a_refused_download_does_not_count_as_truncated(storage):
    async with at_hand(storage) as aa:
        await aa.log_in()
        await aa.set_faults(Faults(truncated_downloads=TruncatedDownloads()))
        answer = await aa.post("getFile", fi_id="99")
        assert base64.b64decode(answer.headers["X-NAA-DOWNLOAD-ERROR"])
        assert await aa.fault_counts() == {}


async def test_calls_of_the_sandbox_itself_get_no_faults(storage):
    async with at_hand(storage) as aa:
        await aa.set_faults(Faults(failures=1, down=Down(), slow=Slow(seconds=600)))
        for path in ("index", "refreshes", "events", "stats", "faults", "providers"):
            assert (await aa.http.get(f"/sandbox/{path}")).status_code == 200
