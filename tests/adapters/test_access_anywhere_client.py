"""The client against a small server in this process: its requests, its reading of answers, its retries."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answers import answer_of
from tests.clocks import SleptClock
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, connect
from jibe_sqs.adapters.access_anywhere.wire import client as client_limits
from jibe_sqs.adapters.access_anywhere.wire.answers import FILES, FILES_NOT_KEPT, existing, page, refresh_state
from jibe_sqs.adapters.access_anywhere.wire.reader import ListShape
from jibe_sqs.adapters.access_anywhere.wire.tasks import TASKS, Task, TaskList, TaskStatus, task_list
from jibe_sqs.adapters.http1_errors import HttpError
from jibe_sqs.core.errors import (
    AccessAnywhereError,
    AccessAnywhereUnavailable,
    AnswerMalformed,
    CallFailed,
    LoginFailed,
    RefreshTimedOut,
    SettingsError,
)

Form = dict[str, str]
Reply = dict | httpx.Response | Exception


class Server:
    """Issues tokens, checks them, and answers other calls by `functions`."""

    def __init__(self) -> None:
        self.clock = SleptClock()
        self.logins = 0
        self.good: set[str] = set()
        self.forms: list[Form] = []
        self.requests: list[httpx.Request] = []
        self.functions: dict[str, Callable[[Form], Reply]] = {}

    def answering(self, function: str, *replies: Reply) -> None:
        """Answer with these in turn, and then always with the last one."""
        left = list(replies)
        self.functions[function] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def log_in(self, form: Form) -> Reply:
        self.logins += 1
        token = f"token-{self.logins}"
        self.good = {token}
        return {"status": "ok", "token": token}

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        form = dict(parse_qsl((await request.aread()).decode(), keep_blank_values=True))
        self.forms.append(form)
        self.requests.append(request)
        function = form["function"]
        if function in {"gettoken", "getTokenByAuthToken"}:
            reply = self.functions.get(function, self.log_in)(form)
        elif form["token"] not in self.good:
            reply = {"status": "login_token_expired", "statusmessage": "Please log in"}
        else:
            reply = self.functions[function](form)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)

    @asynccontextmanager
    async def client(self, **options) -> AsyncIterator[AccessAnywhere]:
        options = {"endpoint": "https://aa.test", "permanent_token": "permanent", "clock": self.clock} | options
        async with connect(origin_of=over_httpx(httpx.MockTransport(self.handle)), **options) as client:
            yield client

    def sent(self, function: str) -> list[Form]:
        return [form for form in self.forms if form["function"] == function]


@pytest.fixture
def server() -> Server:
    return Server()


FOLDER = {"fi_id": "7", "fi_pid": "1", "fi_name": "photos", "fi_type": "1", "trash": False}
FOUND = {"status": "ok", "exists": "y", "file": FOLDER}


# Requests


async def test_a_call_posts_a_form_to_rpc_php_with_a_token_and_asks_for_json(server):
    server.answering("checkPathExists", FOUND)
    async with server.client() as client:
        await client.check_path("/S3/bucket/ä & b")
    request, form = server.requests[-1], server.forms[-1]
    assert (request.method, str(request.url)) == ("POST", "https://aa.test/api/rpc.php")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert re.fullmatch(r"jibe-sqs/\S+ \(python/3\.\S+\)", request.headers["User-Agent"])
    assert form == {
        "function": "checkPathExists",
        "token": "token-1",
        "apiformat": "json",
        "path": "S3/bucket/ä & b",
        "pid": "",
    }


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/", "/api/rpc.php"])
async def test_the_endpoint_may_have_any_usual_ending(server, suffix):
    server.answering("checkPathExists", FOUND)
    async with server.client(endpoint=f"https://aa.test/sub{suffix}") as client:
        await client.check_path("/a")
    assert str(server.requests[-1].url) == "https://aa.test/sub/api/rpc.php"


@pytest.mark.parametrize(
    "endpoint", ["", "aa.test", "ftp://aa.test", "https://", "https://aa\x00", "https://u:p@aa.test"]
)
async def test_an_unusable_endpoint_is_a_mistake_in_the_settings(server, endpoint):
    with pytest.raises(SettingsError):
        async with server.client(endpoint=endpoint):
            pass


async def test_missing_credentials_are_a_mistake_in_the_settings(server):
    with pytest.raises(SettingsError):
        async with server.client(permanent_token="", login="jo", password=""):
            pass


async def test_cookies_are_not_kept(server):
    """PHP handles the calls of one session one after the other."""
    reply = httpx.Response(200, json=FOUND, headers={"Set-Cookie": "PHPSESSID=1; Path=/"})
    server.answering("checkPathExists", reply)
    async with server.client() as client:
        await client.check_path("/a")
        await client.check_path("/b")
    assert all("cookie" not in request.headers for request in server.requests)


async def test_calls_are_counted_by_function_including_retries(server):
    server.answering("checkPathExists", httpx.Response(503), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
        assert client.calls == {"getTokenByAuthToken": 1, "checkPathExists": 2}


async def test_a_function_can_be_called_by_its_name(server):
    server.answering("syncOnProviderEvent", {"status": "error_background"}, {"status": "ok", "done": "1"})
    async with server.client() as client:
        assert (await client.call("syncOnProviderEvent", {"fi_path": "a/b", "from": "x"}))["done"] == "1"
    assert server.forms[-1] == {
        "function": "syncOnProviderEvent",
        "token": "token-1",
        "apiformat": "json",
        "fi_path": "a/b",
        "from": "x",
    }


async def test_no_parameter_replaces_the_function_or_the_token(server):
    server.answering("harmless", {"status": "ok"})
    async with server.client() as client:
        await client.call("harmless", {"function": "doDeleteFile", "token": "stolen"})
    assert server.forms[-1]["function"] == "harmless"
    assert server.forms[-1]["token"] == "token-1"


async def test_a_path_that_is_not_valid_unicode_is_sent(server):
    server.functions["checkPathExists"] = lambda form: {"status": "not_found"}
    async with server.client() as client:
        assert await client.check_path("/bucket/\udcff") is None


async def test_the_version_is_asked_for_without_a_login(server):
    server.good = {"*"}
    server.answering("getApplianceInfo", {"status": "ok", "softwareversionlabel": "2401.05"})
    async with server.client() as client:
        assert await client.version() == "2401.05"
    assert server.logins == 0


# Login


async def test_a_login_with_name_and_password_sends_both(server):
    server.answering("checkPathExists", FOUND)
    async with server.client(permanent_token="", login="jo", password="pä&=s") as client:
        await client.check_path("/a")
    assert server.forms[0] == {
        "function": "gettoken",
        "apiformat": "json",
        "token": "*",
        "us_login": "jo",
        "us_pwd": "pä&=s",
    }


async def test_a_permanent_token_is_preferred_to_a_password(server):
    server.answering("checkPathExists", FOUND)
    async with server.client(login="jo", password="secret") as client:
        await client.check_path("/a")
    assert server.forms[0]["function"] == "getTokenByAuthToken"
    assert server.forms[0]["authtoken"] == "permanent"


async def test_fifty_calls_at_once_share_one_login(server):
    server.answering("checkPathExists", FOUND)
    async with server.client() as client:
        await asyncio.gather(*(client.check_path(f"/{n}") for n in range(50)))
    assert server.logins == 1


async def test_fifty_calls_with_an_expired_token_share_one_new_login(server):
    server.answering("checkPathExists", FOUND)
    async with server.client() as client:
        await client.check_path("/a")
        server.good.clear()
        await asyncio.gather(*(client.check_path(f"/{n}") for n in range(50)))
    assert server.logins == 2


async def test_a_late_refusal_of_an_old_token_keeps_the_new_one(server):
    slow = asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode()))
        if form.get("path") == "slow" and form["token"] == "token-1":
            await slow.wait()
            return httpx.Response(200, json={"status": "login_token_expired"})
        return await server.handle(request)

    server.answering("checkPathExists", FOUND)
    async with connect(
        endpoint="https://aa.test",
        permanent_token="p",
        clock=server.clock,
        origin_of=over_httpx(httpx.MockTransport(handle)),
    ) as client:
        await client.check_path("/first")
        waiting = asyncio.create_task(client.check_path("/slow"))
        await asyncio.sleep(0)
        server.good.clear()
        await client.check_path("/quick")
        slow.set()
        await waiting
    assert server.logins == 2


@pytest.mark.parametrize("code", ["login_token_expired", "login_fail"])
async def test_a_call_with_an_expired_token_is_repeated_once_after_a_new_login(server, code):
    server.answering("checkPathExists", {"status": code}, FOUND)
    async with server.client() as client:
        assert (await client.check_path("/a")).id == "7"
    assert [form["token"] for form in server.sent("checkPathExists")] == ["token-1", "token-2"]


async def test_a_refusal_of_new_tokens_is_a_failed_login(server):
    server.answering("checkPathExists", {"status": "login_token_expired"})
    async with server.client() as client:
        with pytest.raises(LoginFailed, match="role"):
            await client.check_path("/a")
    assert len(server.sent("checkPathExists")) == 3


async def test_a_token_is_renewed_fifty_five_minutes_after_its_issue(server):
    server.answering("checkPathExists", FOUND)
    async with server.client() as client:
        await client.check_path("/a")
        server.clock.time += 54 * 60
        await client.check_path("/a")
        assert server.logins == 1
        server.clock.time += 60
        await client.check_path("/a")
        assert server.logins == 2


async def test_refused_credentials_fail_every_waiting_call_with_the_servers_message(server):
    server.answering("getTokenByAuthToken", {"status": "login_fail", "statusmessage": "Wrong token"})
    async with server.client() as client:
        results = await asyncio.gather(*(client.check_path(f"/{n}") for n in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {LoginFailed}
        assert "Wrong token" in str(results[0])


async def test_a_cancelled_call_does_not_stop_the_login_that_others_wait_for(server):
    server.answering("checkPathExists", FOUND)
    async with server.client() as client:
        first = asyncio.create_task(client.check_path("/a"))
        await asyncio.sleep(0)
        second = asyncio.create_task(client.check_path("/b"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
    assert server.logins == 1


async def test_a_login_whose_answer_has_no_token_fails(server):
    server.answering("getTokenByAuthToken", {"status": "ok"})
    async with server.client() as client:
        with pytest.raises(LoginFailed, match="no token"):
            await client.check_path("/a")


# Failures of the network and the server


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 509])
async def test_a_call_to_a_busy_or_broken_server_is_retried(server, status):
    server.answering("checkPathExists", httpx.Response(status), httpx.Response(status), FOUND)
    async with server.client() as client:
        assert await client.check_path("/a")
    assert len(server.clock.slept) == 2


async def test_a_call_to_a_server_that_stays_busy_fails_after_ten_tries_with_growing_delays(server):
    server.answering("checkPathExists", httpx.Response(429))
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable, match=r"checkPathExists: HTTP 429 .*tried 10 times"):
            await client.check_path("/a")
    assert len(server.sent("checkPathExists")) == 10
    assert all(0.01 * 2**n <= delay <= 0.02 * 2**n for n, delay in enumerate(server.clock.slept))


async def test_no_try_starts_after_the_budget(server):
    def slow(form: Form) -> Reply:
        server.clock.time += 50
        return httpx.ReadTimeout("slow")

    server.functions["checkPathExists"] = slow
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable, match="tried 3 times"):
            await client.check_path("/a")


async def test_retry_after_in_seconds_is_honoured(server):
    server.answering("checkPathExists", httpx.Response(429, headers={"Retry-After": "7"}), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
    assert server.clock.slept == [7.0]


async def test_retry_after_as_a_date_is_honoured(server):
    when = format_datetime(datetime.fromtimestamp(server.clock.time + 5, UTC), usegmt=True)
    server.answering("checkPathExists", httpx.Response(503, headers={"Retry-After": when}), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
    assert server.clock.slept == [5.0]


async def test_a_retry_after_date_is_compared_with_the_date_of_the_answer(server):
    """Our own clock may be unknown still. It then shows the epoch."""
    server.clock.time = 0.0
    headers = {"Retry-After": "Wed, 01 Jan 2025 00:00:05 GMT", "Date": "Wed, 01 Jan 2025 00:00:00 GMT"}
    server.answering("checkPathExists", httpx.Response(503, headers=headers), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
    assert server.clock.slept == [5.0]


async def test_a_retry_after_date_is_ignored_while_the_time_is_unknown(server):
    server.clock.time = 0.0
    headers = {"Retry-After": "Wed, 01 Jan 2025 00:00:05 GMT"}
    server.answering("checkPathExists", httpx.Response(503, headers=headers), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
    assert server.clock.slept[0] <= 0.02


@pytest.mark.parametrize("wish", ["soon", "-1", "inf", "nan", "Mon, 99 Foo 2020 00:00:00 GMT", ""])
async def test_a_malformed_retry_after_is_ignored(server, wish):
    server.answering("checkPathExists", httpx.Response(429, headers={"Retry-After": wish}), FOUND)
    async with server.client() as client:
        await client.check_path("/a")
    assert server.clock.slept[0] <= 0.02


async def test_a_retry_after_of_minutes_is_left_to_the_queue_and_named_in_the_error(server):
    server.answering("checkPathExists", httpx.Response(429, headers={"Retry-After": "300"}))
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable) as caught:
            await client.check_path("/a")
    assert caught.value.retry_after == 300
    assert server.clock.slept == []


def subclasses(kind: type[Exception]) -> list[type[Exception]]:
    return [each for below in kind.__subclasses__() for each in (below, *subclasses(below))]


@pytest.mark.parametrize("kind", [HttpError, *subclasses(HttpError)], ids=lambda kind: kind.__name__)
async def test_every_error_of_the_http_client_is_translated(server, kind):
    server.answering("checkPathExists", kind("boom"))
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable, match=r"checkPathExists: .*boom"):
            await client.check_path("/a")


async def test_a_defect_in_a_call_is_not_translated(server):
    server.answering("checkPathExists", AttributeError("'NoneType' object has no attribute 'x'", name="x", obj=None))
    async with server.client() as client:
        with pytest.raises(AttributeError):
            await client.check_path("/a")


async def test_an_answer_that_arrives_too_slowly_fails_the_call(server, monkeypatch):
    monkeypatch.setattr("jibe_sqs.adapters.access_anywhere.wire.transport.MAX_CALL_SECONDS", 0)
    monkeypatch.setattr("jibe_sqs.adapters.access_anywhere.wire.transport.MAX_TRIES", 1)
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable, match="the answer has not ended"):
            await client.check_path("/a")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_an_http_refusal_fails_the_call_with_its_code_and_is_not_retried(server, status):
    server.answering("checkPathExists", httpx.Response(status))
    async with server.client() as client:
        with pytest.raises(CallFailed) as caught:
            await client.check_path("/a")
    assert caught.value.code == f"http-{status}"
    assert len(server.sent("checkPathExists")) == 1


@pytest.mark.parametrize("location", ["https://other.test/login?x=1", "/login"])
async def test_a_redirect_is_not_followed_and_its_host_is_named(server, location):
    server.answering("checkPathExists", httpx.Response(302, headers={"Location": location}))
    async with server.client() as client:
        with pytest.raises(CallFailed, match="redirects to") as caught:
            await client.check_path("/a")
    assert caught.value.code == "http-302"
    assert len(server.sent("checkPathExists")) == 1


async def test_an_html_page_is_malformed_and_its_beginning_is_quoted(server):
    page = "<html><body>Down for maintenance" + " until tomorrow" * 20
    server.answering("checkPathExists", httpx.Response(200, html=page))
    async with server.client() as client:
        with pytest.raises(AnswerMalformed) as caught:
            await client.check_path("/a")
    assert "text/html" in str(caught.value)
    assert page[:80] in str(caught.value)
    assert page[:81] not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"ok"', b"{}", b'{"status":1}', b'{"status":"ok"', b"\xff\xfe", b'{"a":"\xff"}', b"[" * 5000],
)
async def test_a_body_that_is_not_an_envelope_is_malformed(server, body):
    server.answering("checkPathExists", httpx.Response(200, content=body))
    async with server.client() as client:
        with pytest.raises(AnswerMalformed):
            await client.check_path("/a")


async def test_an_unknown_code_fails_the_call_and_is_shown(server):
    server.answering("checkPathExists", {"status": "moon_phase", "statusmessage": "Not tonight"})
    async with server.client() as client:
        with pytest.raises(CallFailed, match=r"moon_phase.*Not tonight") as caught:
            await client.check_path("/a")
    assert caught.value.code == "moon_phase"
    assert len(server.sent("checkPathExists")) == 1


async def test_a_very_long_code_is_cut_in_the_error(server):
    server.answering("checkPathExists", {"status": "x" * 100_000, "statusmessage": "y" * 100_000})
    async with server.client() as client:
        with pytest.raises(CallFailed) as caught:
            await client.check_path("/a")
    assert len(str(caught.value)) < 1000


async def test_a_call_waits_for_a_background_task_that_blocks_it(server):
    busy = {"status": "error_background"}
    server.answering("checkPathExists", busy, busy, busy, FOUND)
    async with server.client() as client:
        assert await client.check_path("/a")
    assert server.clock.slept == [1.0, 2.0, 4.0]


async def test_a_call_fails_within_two_minutes_if_a_background_task_does_not_end(server):
    server.answering("checkPathExists", {"status": "error_background"})
    async with server.client() as client:
        with pytest.raises(CallFailed) as caught:
            await client.check_path("/a")
    assert caught.value.code == "error_background"
    assert server.clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


# Different shapes


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"exists": "y", "file": FOLDER}, "7"),
        ({"exists": "Y", "file": FOLDER}, "7"),
        ({"exists": True, "file": FOLDER}, "7"),
        ({"exists": 1, "file": FOLDER | {"fi_id": 7, "fi_pid": 1, "fi_type": 1}}, "7"),
        ({"exists": "1", "file": FOLDER | {"trash": "n"}}, "7"),
        ({"exists": "y", "file": FOLDER | {"trash": "y"}}, None),
        ({"exists": "y", "file": FOLDER | {"trash": True}}, None),
        ({"exists": "n", "file": []}, None),
        ({"exists": False}, None),
        ({"exists": "0"}, None),
        ({}, None),
        ({"status": "not_found"}, None),
        ({"status": "trashed"}, None),
    ],
)
async def test_every_spelling_of_exists_is_read(server, answer, found):
    server.answering("checkPathExists", {"status": "ok"} | answer)
    async with server.client() as client:
        item = await client.check_path("/a")
    assert (item and item.id) == found


@pytest.mark.parametrize(
    ("filelist", "ids"),
    [
        ([FOLDER, FOLDER | {"fi_id": 8}], ["7", "8"]),
        ({"n0": FOLDER, "n1": FOLDER | {"fi_id": "8"}}, ["7", "8"]),
        (FOLDER, ["7"]),
        ([], []),
        ({}, []),
        ("", []),
        (None, []),
    ],
)
async def test_a_list_of_files_may_be_a_list_a_dict_or_a_single_item(server, filelist, ids):
    server.answering("getFolderContents", {"status": "ok", "total": str(len(ids)), "filelist": filelist})
    async with server.client() as client:
        assert [item.id async for item in client.list_folder("1")] == ids


@pytest.mark.parametrize("filelist", ["nothing", 3, [3], [{}], {"n0": None}, [FOLDER | {"fi_type": "many"}]])
async def test_another_value_in_place_of_a_list_is_malformed(server, filelist):
    server.answering("getFolderContents", {"status": "ok", "total": "1", "filelist": filelist})
    async with server.client() as client:
        with pytest.raises(AnswerMalformed):
            [item async for item in client.list_folder("1")]


@pytest.mark.parametrize(
    ("times", "modified"),
    [
        ({"fi_modified": "2024-02-03 04:05:06"}, datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (
            {"fi_modified": "2024-02-03 04:05:06", "fi_localtime": "2020-01-01 00:00:00"},
            datetime(2020, 1, 1, tzinfo=UTC),
        ),
        (
            {"fi_modified": "2024-02-03 04:05:06", "fi_localtime": "0000-00-00 00:00:00"},
            datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC),
        ),
        ({"fi_modified": "0000-00-00 00:00:00"}, None),
        ({"fi_modified": "yesterday"}, None),
        ({}, None),
    ],
)
async def test_the_time_of_an_item_is_its_local_time_unless_zero(server, times, modified):
    server.answering("checkPathExists", FOUND | {"file": FOLDER | times})
    async with server.client() as client:
        assert (await client.check_path("/a")).modified == modified


@pytest.mark.parametrize(("size", "read"), [("12", 12), (12, 12), (12.0, 12), ("", 0), (None, 0)])
async def test_a_number_may_be_quoted(server, size, read):
    server.answering("checkPathExists", FOUND | {"file": FOLDER | {"fi_size": size}})
    async with server.client() as client:
        assert (await client.check_path("/a")).size == read


# Listing


def paging(entries: list[dict], *, total: bool = True) -> Callable[[Form], Reply]:
    def answer(form: Form) -> Reply:
        start = int(form["from"])
        shown_total = {"total": str(len(entries))} if total else {}
        return {"status": "ok", "filelist": entries[start : start + int(form["count"])]} | shown_total

    return answer


@pytest.mark.parametrize("size", ["unknown", "1.5", [], {}, "-"])
async def test_a_malformed_size_does_not_hide_the_folders_beside_it(server, size):
    file = {"fi_id": "8", "fi_name": "odd", "fi_type": "0", "fi_size": size}
    server.functions["getFolderContents"] = paging([file, FOLDER])
    async with server.client() as client:
        assert [folder.id for folder in await client.subfolders("1")] == ["7"]


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
async def test_a_folder_is_listed_whole_in_pages_of_a_thousand(server, count, total):
    entries = [FOLDER | {"fi_id": str(n), "fi_type": str(n % 2)} for n in range(count)]
    server.functions["getFolderContents"] = paging(entries, total=total)
    async with server.client() as client:
        assert [item.id async for item in client.list_folder("1")] == [entry["fi_id"] for entry in entries]
        assert [item.id for item in await client.subfolders("1")] == [
            e["fi_id"] for e in entries if e["fi_type"] == "1"
        ]
    assert {form["count"] for form in server.sent("getFolderContents")} == {"1000"}


async def test_the_same_page_twice_is_a_malformed_answer(server):
    page = [{"fi_id": str(n), "fi_name": f"f{n}", "fi_type": "1"} for n in range(1000)]
    server.functions["getFolderContents"] = lambda form: {"status": "ok", "filelist": page}
    async with server.client() as client:
        with pytest.raises(AnswerMalformed, match="same page"):
            await asyncio.wait_for(client.subfolders("1"), 10)
    assert len(server.sent("getFolderContents")) == 2


async def test_pages_that_alternate_are_a_malformed_answer(server):
    """Each page differs from the one before it, but there is no progress."""

    def answer(form: Form) -> Reply:
        odd = int(form["from"]) // 1000 % 2
        return {"status": "ok", "filelist": [{"fi_id": f"{n} {odd}", "fi_type": "1"} for n in range(1000)]}

    server.functions["getFolderContents"] = answer
    async with server.client() as client:
        with pytest.raises(AnswerMalformed, match="same page"):
            await client.subfolders("1")
    assert len(server.sent("getFolderContents")) == 3


@pytest.mark.parametrize("size", [1, 1000])
async def test_new_pages_without_end_are_a_malformed_answer(server, monkeypatch, size):
    monkeypatch.setattr(client_limits, "MAX_PAGES", 5)
    entries = [{"fi_id": str(n), "fi_type": "0"} for n in range(6 * size)]
    pages = paging(entries)
    server.functions["getFolderContents"] = lambda form: pages(form | {"count": str(size)}) | {"total": 10**9}
    async with server.client() as client:
        with pytest.raises(AnswerMalformed, match="no end after 5 pages"):
            [item async for item in client.list_folder("1")]
    assert len(server.sent("getFolderContents")) == 5


async def test_more_subfolders_than_can_be_kept_are_an_error_not_a_part_of_them(server, monkeypatch):
    monkeypatch.setattr(client_limits, "MAX_SUBFOLDERS_BYTES", 1_000_000)
    server.functions["getFolderContents"] = paging([FOLDER | {"fi_id": str(n)} for n in range(2000)])
    async with server.client() as client:
        assert len(await client.subfolders("1")) == 2000
    server.functions["getFolderContents"] = paging([FOLDER | {"fi_id": str(n)} for n in range(4000)])
    async with server.client() as client:
        with pytest.raises(AnswerMalformed, match="more folders than can be kept"):
            await client.subfolders("1")


async def test_a_flat_folder_of_a_hundred_thousand_files_is_listed_from_one_answer(server):
    """A server that ignores `count` sends all of them."""
    files = [{"fi_id": str(n), "fi_name": f"{n:060}", "fi_type": "0"} for n in range(100_000)]
    server.answering("getFolderContents", {"status": "ok", "total": "100000", "filelist": files})
    async with server.client() as client:
        assert sum([1 async for _ in client.list_folder("1")]) == 100_000


async def test_entries_in_the_trash_are_not_listed(server):
    server.functions["getFolderContents"] = paging([FOLDER, FOLDER | {"fi_id": "8", "trash": "y"}])
    async with server.client() as client:
        assert [item.id async for item in client.list_folder("1")] == ["7"]
        assert [item.id for item in await client.subfolders("1")] == ["7"]


async def test_bucket_and_provider_are_requested_only_with_details(server):
    bucket = FOLDER | {"isbucket": "y", "fi_bname": "photos-bucket", "fi_provider": "12", "fi_providerfolder": "a/"}
    server.functions["getFolderContents"] = paging([bucket])
    async with server.client() as client:
        [item] = [item async for item in client.list_folder("1", details=True)]
        [_] = [item async for item in client.list_folder("1")]
    assert (item.is_bucket, item.bucket, item.provider, item.provider_folder) == (True, "photos-bucket", "12", "a/")
    asked = [form["options"].split("|") for form in server.sent("getFolderContents")]
    assert {"isbucket", "fi_bname", "fi_provider", "fi_providerfolder"} == set(asked[0]) - set(asked[1])


async def test_no_subfolder_is_missed_if_an_earlier_entry_is_removed_between_two_pages(server):
    entries = [FOLDER | {"fi_id": str(n)} for n in range(1500)]
    pages = paging(entries)

    def answer(form: Form) -> Reply:
        reply = pages(form)
        if len(entries) == 1500:
            del entries[0]
        return reply

    server.functions["getFolderContents"] = answer
    async with server.client() as client:
        assert {"1000", "1499"} <= {item.id for item in await client.subfolders("1")}


# Refresh


def refreshing(token: str | None, **more) -> dict:
    return {
        "status": "ok",
        "refreshresult": {"token": token} if token else "",
        "total": "3",
        "filelist": [FOLDER],
    } | more


async def test_a_refresh_is_requested_and_polled_to_its_end(server):
    server.answering(
        "getFolderContents",
        refreshing("r1", stillsyncing="y"),
        refreshing("r1", stillsyncing="y"),
        refreshing("r1", stillsyncing=1),
        refreshing("r1", stillsyncing="n"),
    )
    async with server.client() as client:
        assert not await client.refresh_folder("7")
    first, *polls = server.sent("getFolderContents")
    asked = {"fi_pid": "7", "refresh": "y", "refreshtype": "a", "options": "basic_fields", "count": "1"}
    assert asked.items() <= first.items()
    assert "refreshtoken" not in first
    assert [poll["refreshtoken"] for poll in polls] == ["r1", "r1", "r1"]
    assert server.clock.slept == pytest.approx([0.01, 0.015, 0.0225])


@pytest.mark.parametrize(
    ("expected", "slept"),
    [(0.0, [0.01, 0.015, 0.0225]), (0.02, [0.014, 0.015, 0.0225]), (2, [1.4, 0.3, 0.45]), (100, [70, 2, 2])],
)
async def test_a_refresh_that_will_probably_take_long_is_polled_late_and_seldom(server, expected, slept):
    busy = refreshing("r1", stillsyncing="y")
    server.answering("getFolderContents", busy, busy, busy, refreshing("r1"))
    async with server.client() as client:
        await client.refresh_folder("7", expected=expected)
    assert server.clock.slept == pytest.approx(slept)


@pytest.mark.parametrize(("duration", "most"), [(0.0, 1.0), (0.03, 1.1), (0.2, 1.2)])
async def test_nearly_every_refresh_needs_one_poll_once_their_usual_duration_is_known(server, duration, most):
    """And no refresh waits for much longer than its duration."""
    ends: dict[str, float] = {}

    def answer(form: Form) -> Reply:
        token = form.get("refreshtoken")
        if token is None:
            token = f"r{len(ends)}"
            ends[token] = server.clock.monotonic() + duration
        return refreshing(token, stillsyncing=server.clock.monotonic() < ends[token])

    server.functions["getFolderContents"] = answer
    async with server.client() as client:
        for _ in range(20):
            await client.refresh_folder("7")
        sent, slept = len(server.sent("getFolderContents")), len(server.clock.slept)
        for _ in range(200):
            await client.refresh_folder("7")
    polls = len(server.sent("getFolderContents")) - sent - 200
    assert 200 <= polls <= 200 * most
    assert sum(server.clock.slept[slept:]) / 200 <= max(0.0101, 1.6 * duration)


async def test_a_refresh_that_will_probably_exceed_its_timeout_is_polled_all_the_same(server):
    server.answering("getFolderContents", refreshing("r1"))
    async with server.client(refresh_timeout=60) as client:
        await client.refresh_folder("7", expected=1000)
    assert server.clock.slept == [30]


@pytest.mark.parametrize(
    "still",
    [{"stillsyncing": "y"}, {"stillsyncing": True}, {"stillsyncing": 1}, {"refreshresult": {"stillsyncing": "1"}}],
)
@pytest.mark.parametrize(
    "over", [{"stillsyncing": "n"}, {"stillsyncing": False}, {"stillsyncing": "0"}, {"stillsyncing": ""}, {}]
)
async def test_still_syncing_has_many_spellings_and_places(server, still, over):
    server.answering("getFolderContents", refreshing("r1"), {"status": "ok"} | still, {"status": "ok"} | over)
    async with server.client() as client:
        await client.refresh_folder("7")
    assert len(server.sent("getFolderContents")) == 3


async def test_a_refresh_that_does_not_end_times_out_and_is_polled_every_two_seconds_or_less(server):
    server.answering("getFolderContents", refreshing("r1", stillsyncing="y"))
    async with server.client(refresh_timeout=60) as client:
        with pytest.raises(RefreshTimedOut):
            await client.refresh_folder("7")
    assert max(server.clock.slept) == 2.0
    assert 57 < sum(server.clock.slept) <= 60


async def test_after_refreshed_recently_the_request_is_repeated_and_begins_again(server):
    """A refresh that began before the request does not count."""
    server.answering("getFolderContents", refreshing(None), refreshing(None), refreshing("r1"), refreshing("r1"))
    began: list[int] = []
    async with server.client() as client:
        await client.refresh_folder("7", began=lambda: began.append(len(server.sent("getFolderContents"))))
    assert began == [0, 1, 2]
    assert server.clock.slept == pytest.approx([0.1, 0.2, 0.01])


async def test_repeated_answers_of_refreshed_recently_time_out(server):
    server.answering("getFolderContents", refreshing(None))
    async with server.client(refresh_timeout=60) as client:
        with pytest.raises(RefreshTimedOut, match="recently"):
            await client.refresh_folder("7")
    assert max(server.clock.slept) == 2.0
    assert 57 < sum(server.clock.slept) <= 60


async def test_a_slot_is_held_while_a_refresh_runs_but_not_between_two_requests(server):
    slot = asyncio.Semaphore(1)
    held: list[bool] = []
    sleep = server.clock.sleep

    async def noting_sleep(seconds: float) -> None:
        held.append(slot.locked())
        await sleep(seconds)

    server.clock.sleep = noting_sleep
    server.answering("getFolderContents", refreshing(None), refreshing("r1"), refreshing("r1"))
    async with server.client() as client:
        await client.refresh_folder("7", slot=lambda: slot)
    assert held == [False, True]
    assert not slot.locked()


async def test_a_refresh_begins_only_when_it_has_its_slot(server):
    """So it also covers changes that happen while it waits."""
    slot = asyncio.Semaphore(1)
    began: list[str] = []
    server.answering("getFolderContents", refreshing("r1"))
    async with server.client() as client:
        async with slot:
            refresh = asyncio.create_task(
                client.refresh_folder("7", began=lambda: began.append("now"), slot=lambda: slot)
            )
            for _ in range(10):
                await asyncio.sleep(0)
            assert began == []
        await refresh
    assert began == ["now"]


@pytest.mark.parametrize(
    ("last", "empty"),
    [
        ({"total": "0", "filelist": []}, True),
        ({"total": 0}, True),
        ({"total": "0", "filelist": [FOLDER]}, False),
        ({"total": "2", "filelist": []}, False),
        ({}, False),
    ],
)
async def test_a_folder_is_empty_only_if_its_total_and_its_list_agree(server, last, empty):
    server.answering("getFolderContents", refreshing("r1"), {"status": "ok"} | last)
    async with server.client() as client:
        assert await client.refresh_folder("7") is empty


# Background tasks

TASK = {
    "bt_id": "41",
    "bt_type": "sync",
    "bt_subtype": "full",
    "bt_status": "w",
    "bt_procent": "45",
    "bt_added": "2024-02-03 04:05:06",
    "bt_completed": "0000-00-00 00:00:00",
    "callback": "InitialSync",
    "fi_provider": "12",
    "bt_files": 1234,
}


@pytest.mark.parametrize(
    "answer",
    [
        {"tasks": [TASK]},
        {"tasks": {"n0": TASK}},
        {"tasks": TASK},
        {"response": {"tasks": [TASK], "total": "1"}},
        {"response": {"tasks": {"n0": TASK}}},
        {"response": {"tasks": TASK}},
        {"tasks": [], "response": {"tasks": [TASK]}},
    ],
)
async def test_background_tasks_are_read_from_both_places_and_in_all_shapes(server, answer):
    server.answering("getUserBackgroundTasks", {"status": "ok"} | answer)
    async with server.client() as client:
        listed = await client.background_tasks(kind="sync", limit=1000)
    assert server.forms[-1] == server.forms[-1] | {"typefilter": "sync", "statusfilter": "c,completed", "limit": "1000"}
    [task] = listed.tasks
    assert task == Task(
        id="41",
        type="sync",
        subtype="full",
        status=TaskStatus.WORKING,
        percent=45.0,
        added=datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC),
        completed=None,
        callback="InitialSync",
        provider="12",
        files=1234,
    )


@pytest.mark.parametrize("answer", [{}, {"tasks": []}, {"tasks": ""}, {"response": []}, {"response": {"tasks": None}}])
async def test_an_answer_without_background_tasks_gives_an_empty_list(server, answer):
    server.answering("getUserBackgroundTasks", {"status": "ok"} | answer)
    async with server.client() as client:
        assert (await client.background_tasks(kind="custom", limit=1)).tasks == []


CUSTOM = {name: value for name, value in TASK.items() if name not in ("callback", "fi_provider")} | {
    "bt_type": "custom",
    "bt_subtype": "",
}


def read(answer: dict, shape: ListShape | None = None) -> dict:
    """The answer as the client reads it from the wire."""
    return answer_of([json.dumps({"status": "ok"} | answer).encode()], shape)


def tasks_in(answer: dict) -> TaskList:
    return task_list(read(answer, TASKS))


DATA = {"callback": "ReSync", "fi_provider": "12", "args": {"deep": [1]}}


@pytest.mark.parametrize(
    "task",
    [
        {"bt_data": DATA},
        {"bt_data": json.dumps(DATA)},
        {"bt_data": "not JSON", "callback": "ReSync", "fi_provider": "12"},
        {"bt_data": "[1]", "callback": "ReSync", "fi_provider": "12"},
        {"bt_data": None, "callback": "ReSync", "fi_provider": "12"},
        {"bt_data": json.dumps(DATA), "callback": "ReSync", "fi_provider": ""},
    ],
)
def test_the_data_of_a_custom_task_name_what_it_does(task):
    [read] = tasks_in({"response": {"tasks": [CUSTOM | task]}}).tasks
    assert (read.type, read.callback, read.provider) == ("custom", "ReSync", "12")


@pytest.mark.parametrize(
    ("answer", "limit", "is_whole"),
    [
        ({"tasks": [TASK], "total": "1"}, 1000, True),
        ({"tasks": [TASK], "total": 2}, 1000, False),
        ({"response": {"tasks": [TASK], "total": "2"}}, 1000, False),
        ({"tasks": [TASK]}, 1000, True),
        ({"tasks": [TASK]}, 1, False),
        ({"tasks": [TASK], "total": "many"}, 1, False),
        ({"tasks": []}, 1, True),
    ],
)
def test_a_list_of_tasks_is_whole_if_nothing_was_cut_off(answer, limit, is_whole):
    assert tasks_in(answer).is_whole(limit) is is_whole


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("a", TaskStatus.QUEUED),
        ("w", TaskStatus.WORKING),
        ("P", TaskStatus.PAUSED),
        ("c", TaskStatus.COMPLETED),
        ("completed", TaskStatus.COMPLETED),
        ("error", TaskStatus.FAILED),
        ("canceled", TaskStatus.CANCELED),
        ("cancelled", TaskStatus.CANCELED),
        ("dreaming", TaskStatus.UNKNOWN),
        (None, TaskStatus.UNKNOWN),
    ],
)
def test_every_spelling_of_a_tasks_status_is_read(word, status):
    assert tasks_in({"tasks": [TASK | {"bt_status": word}]}).tasks[0].status is status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"bt_canceled": "0", "bt_completestatus": ""}, TaskStatus.COMPLETED),
        ({"bt_canceled": "0000-00-00 00:00:00", "bt_completestatus": "ok"}, TaskStatus.COMPLETED),
        ({"bt_canceled": None, "bt_completestatus": None}, TaskStatus.COMPLETED),
        ({"bt_canceled": "2024-02-03 04:05:06"}, TaskStatus.CANCELED),
        ({"bt_canceled": "y"}, TaskStatus.CANCELED),
        ({"bt_completestatus": "error"}, TaskStatus.UNKNOWN),
        ({"bt_completestatus": "a word that is not known"}, TaskStatus.UNKNOWN),
    ],
)
def test_a_task_is_not_complete_if_another_field_contradicts(fields, status):
    assert tasks_in({"tasks": [TASK | {"bt_status": "c"} | fields]}).tasks[0].status is status


@pytest.mark.parametrize("unknown", [{"bt_procent": "most", "bt_files": "many"}, {"bt_procent": -1, "bt_files": -1}])
def test_malformed_optional_numbers_do_not_fail_the_answer(unknown):
    [task] = tasks_in({"tasks": [TASK | unknown]}).tasks
    assert (task.percent, task.files) == (None, None)


# Any answer

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0000-00-00 00:00:00", "9" * 5000, "1e999", "45%", "y", 10**400, "2024-02-03 04:05:06"])
)
anything = st.recursive(
    scalars, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3)
)
FIELDS = [
    *TASK,
    *FOLDER,
    "bt_data",
    "bt_canceled",
    "bt_completestatus",
    "fi_size",
    "fi_modified",
    "fi_localtime",
    "isbucket",
    "fi_bname",
    "fi_providerfolder",
]
records = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=8)
PLACES = ["tasks", "response", "file", "filelist", "exists", "total", "refreshresult", "stillsyncing"]
answers = st.dictionaries(
    st.sampled_from(PLACES),
    anything | records | st.lists(records, max_size=3) | st.fixed_dictionaries({"tasks": records}),
)


@settings(deadline=None)
@given(answers)
def test_any_json_answer_is_read_or_malformed_and_never_crashes(answer):
    for shape, of in ((TASKS, task_list), (FILES, page), (None, existing), (FILES_NOT_KEPT, refresh_state)):
        with contextlib.suppress(AnswerMalformed):
            of(read(answer, shape))


@settings(deadline=None)
@given(st.binary(max_size=50) | answers.map(lambda answer: json.dumps(answer | {"status": "ok"}).encode()))
def test_any_bytes_are_read_or_malformed_and_never_crash(body):
    for shape, of in ((TASKS, task_list), (FILES, page), (None, existing), (FILES_NOT_KEPT, refresh_state)):
        with contextlib.suppress(AnswerMalformed):
            of(answer_of([body], shape))


# Secrets

CANARY = "canary+/ p%w"


def outcomes() -> dict[str, Reply]:
    message = f"no: {CANARY}"
    return {
        "code": {"status": "error", "statusmessage": message},
        "code itself": {"status": CANARY},
        "html": httpx.Response(200, html=f"<p>{CANARY}</p>"),
        "encoded": httpx.Response(200, html="<p>canary%2B%2F+p%25w</p>"),
        "broken json": httpx.Response(200, content=f'{{"status":"ok","token":"{CANARY}"'),
        "redirection": httpx.Response(302, headers={"Location": "https://other.test/?pwd=canary%2B%2F+p%25w"}),
        "http": httpx.Response(403, text=message),
        "down": httpx.Response(503, text=message),
        "network": httpx.ConnectError("refused", request=httpx.Request("POST", "https://aa.test", content=CANARY)),
    }


@pytest.mark.parametrize("where", ["login", "call"])
@pytest.mark.parametrize("outcome", outcomes())
@pytest.mark.parametrize("how", ["password", "permanent token"])
async def test_no_error_log_or_repr_contains_a_secret(server, where, outcome, how, caplog):
    caplog.set_level(logging.DEBUG)
    credentials = {"permanent_token": "", "login": "jo", "password": CANARY}
    if how == "permanent token":
        credentials = {"permanent_token": CANARY}
    login = "gettoken" if how == "password" else "getTokenByAuthToken"
    if where == "login":
        server.answering(login, outcomes()[outcome])
    else:
        server.good = {CANARY}
        server.answering(login, {"status": "ok", "token": CANARY})
        server.answering("checkPathExists", outcomes()[outcome])
    seen = []
    with structlog.testing.capture_logs() as logged:
        async with server.client(**credentials) as client:
            with pytest.raises(AccessAnywhereError) as caught:
                await client.check_path("/a")
            seen += [repr(client), repr(vars(client)), repr(vars(client._session)), repr(client._session._credentials)]
    error: BaseException | None = caught.value
    while error is not None:
        seen += [str(error), repr(error), json.dumps(repr(error.args))]
        error = error.__cause__ or error.__context__
    seen += [repr(logged), caplog.text]
    token_held_by_the_session = where == "call"
    for text in seen if not token_held_by_the_session else [s for s in seen if "_token" not in s]:
        assert "canary" not in text


async def test_an_unreadable_answer_to_a_login_is_not_quoted(server):
    body = '<br>Warning: {"status":"ok","token":"fresh-token"}'
    server.answering("getTokenByAuthToken", httpx.Response(200, html=body))
    async with server.client() as client:
        with pytest.raises(AnswerMalformed) as caught:
            await client.check_path("/a")
    assert "fresh" not in str(caught.value)


async def test_logins_and_retries_are_logged_with_their_function(server):
    server.answering("checkPathExists", httpx.Response(503), FOUND)
    with structlog.testing.capture_logs() as logged:
        async with server.client() as client:
            await client.check_path("/a")
    events = ["access_anywhere_login", "concurrency_reduced", "access_anywhere_retry"]
    assert [entry["event"] for entry in logged] == events
    assert logged[2]["function"] == "checkPathExists"
    assert logged[2]["attempt"] == 1
