"""Downloads and uploads: over a socket with the sandbox's server, and without a socket for rare behaviour."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import md5
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog
from tests.clocks import SleptClock
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, connect
from jibe_sqs.adapters.access_anywhere.connection import DOWNLOADS
from jibe_sqs.adapters.http1_connection import CHUNK
from jibe_sqs.core.errors import (
    AccessAnywhereError,
    AccessAnywhereUnavailable,
    AnswerMalformed,
    CallFailed,
    DownloadTruncated,
    LoginFailed,
)

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

ROOT = "/Amazon S3/my-bucket"


async def content(client: AccessAnywhere, fi_id: str, **options) -> bytes:
    async with client.download(fi_id, **options) as download:
        return b"".join([chunk async for chunk in download])


# Over a socket


@contextmanager
def served(**objects: bytes):
    provider = sandbox.Provider("Amazon S3", buckets=("my-bucket",))
    config = sandbox.AccessAnywhereServer(
        login="jibe",
        password="pass word",
        permanent_token="permanent",
        providers=(provider,),
        recent_window=0,
        refresh_seconds=0,
    )
    storage = sandbox.MemoryStorage({"my-bucket": objects})
    with sandbox.serving(sandbox.create_app(config, storage)) as url:
        yield url, storage


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[AccessAnywhere]:
    async with connect(endpoint=url, permanent_token="permanent", clock=SleptClock()) as client:
        folder = await client.check_path("/Amazon S3")
        await client.refresh_folder(folder.id)
        bucket = await client.check_path(ROOT)
        await client.refresh_folder(bucket.id)
        yield client


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 4 * CHUNK + 1])
async def test_a_file_is_read_whole_in_chunks_and_its_size_is_known_first(size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    with served(log=body) as (url, _):
        async with client_of(url) as client:
            file = await client.check_path(f"{ROOT}/log")
            async with client.download(file.id) as download:
                assert download.size == size
                chunks = [chunk async for chunk in download]
    assert b"".join(chunks) == body
    assert max(map(len, chunks)) <= 2 * CHUNK


async def test_an_empty_file_has_no_bytes():
    with served(log=b"") as (url, _):
        async with client_of(url) as client:
            assert await content(client, (await client.check_path(f"{ROOT}/log")).id) == b""


@pytest.mark.parametrize(
    "body", [b'{"status": "AccessDenied", "statusmessage": "no", "Records": []}', b'{"Records": []}', b"{" * 70_000]
)
async def test_a_file_that_is_json_is_a_file(body):
    with served(log=body) as (url, _):
        async with client_of(url) as client:
            assert await content(client, (await client.check_path(f"{ROOT}/log")).id) == body


async def test_many_files_are_read_at_a_time_and_no_reader_delays_a_call():
    with served(log=b"x" * 300_000) as (url, _):
        async with client_of(url) as client:
            file = await client.check_path(f"{ROOT}/log")
            slow = [client.download(file.id) for _ in range(DOWNLOADS)]
            for download in slow:
                await download.__aenter__()
            assert await client.check_path(f"{ROOT}/log")
            for download in slow:
                await download.__aexit__(None, None, None)
            assert len(await content(client, file.id)) == 300_000


async def test_a_file_that_is_missing_in_storage_fails_the_call_with_the_reason():
    with served(log=b"x") as (url, storage):
        async with client_of(url) as client:
            file = await client.check_path(f"{ROOT}/log")
            storage.delete("my-bucket", "log")
            with pytest.raises(CallFailed, match="NoSuchKey") as caught:
                await content(client, file.id)
            assert caught.value.code == "provider_error"
            with pytest.raises(CallFailed) as caught:
                await content(client, "999999")
            assert caught.value.code == "not_found"


async def test_a_report_is_stored_under_its_name_and_can_be_read_again():
    body = b"a report\r\n--boundary\r\n\x00\xff" * 1000
    with served(log=b"") as (url, storage):
        async with client_of(url) as client:
            folder = await client.check_path(ROOT)
            item = await client.upload(folder.id, 'report "ä".json', body)
            assert (item.name, item.size, item.is_folder) == ('report "ä".json', len(body), False)
            assert await content(client, item.id) == body
    assert storage.objects("my-bucket")['report "ä".json'].size == len(body)


async def test_an_upload_to_a_folder_that_stores_nothing_fails_at_once():
    with served() as (url, _):
        async with client_of(url) as client:
            with pytest.raises(CallFailed) as caught:
                await client.upload((await client.check_path("/Amazon S3")).id, "report", b"x")
            assert caught.value.code == "upload_not_allowed"
            assert client.calls["doInitUpload"] == 1


# Rare behaviour

Reply = httpx.Response | dict | Exception


class Server:
    """Answers each function with its replies in turn, and then always with the last one."""

    def __init__(self) -> None:
        self.clock = SleptClock()
        self.replies: dict[str, list[Reply | Callable[[httpx.Request], Reply]]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.tokens = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        form = dict(parse_qsl(body.decode("latin-1"))) if request.url.path == "/sub/api/rpc.php" else {}
        function = form.get("function", "uploader")
        self.asked.append((function, form))
        if function == "getTokenByAuthToken":
            self.tokens += 1
            return httpx.Response(200, json={"status": "ok", "token": f"token-{self.tokens}"})
        replies = self.replies[function]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        reply = reply(request) if callable(reply) else reply
        if isinstance(reply, Exception):
            raise reply
        reply = reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)
        if reply.is_stream_consumed:
            # A response of bytes counts as read already. One from a network does not.
            reply = httpx.Response(reply.status_code, headers=reply.headers, stream=Broken(reply.content))
        return reply

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AccessAnywhere]:
        async with connect(
            endpoint="https://aa.test/sub",
            permanent_token="permanent",
            clock=self.clock,
            origin_of=over_httpx(httpx.MockTransport(self.handle)),
        ) as client:
            yield client

    def count(self, function: str) -> int:
        return sum(asked == function for asked, _ in self.asked)


@pytest.fixture
def server() -> Server:
    return Server()


class Broken(httpx.AsyncByteStream):
    """Some bytes, and then an error or the end."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error:
            raise self.error


def broken(*chunks: bytes, promised: int, error: Exception | None = None) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Length": str(promised)}, stream=Broken(*chunks, error=error))


FILE = httpx.Response(200, content=b"the file")


async def test_a_file_is_requested_without_compression(server):
    server.replies["getFile"] = [lambda request: httpx.Response(200, content=repr(request.headers).encode())]
    async with server.client() as client:
        headers = (await content(client, "7")).decode()
    assert server.asked[-1] == (
        "getFile",
        {"function": "getFile", "fi_id": "7", "token": "token-1", "apiformat": "json"},
    )
    assert "'accept-encoding': 'identity'" in headers


@pytest.mark.parametrize(
    "error",
    [None, httpx.RemoteProtocolError("peer closed"), httpx.ReadError("reset"), ssl.SSLError("bad record mac")],
)
async def test_a_download_that_ends_early_is_truncated_for_its_reader(server, error):
    """A small file is complete before it is returned; here are larger ones."""
    server.replies["getFile"] = [broken(b"x" * 100_000, b"y" * 50_000, promised=200_000, error=error)]
    seen = bytearray()

    async def read(client: AccessAnywhere) -> None:
        async with client.download("7") as download:
            async for chunk in download:
                seen.extend(chunk)

    async with server.client() as client:
        with pytest.raises(DownloadTruncated, match=r"after (100000|150000) of 200000 bytes"):
            await read(client)
    assert bytes(seen) in {b"x" * 100_000, b"x" * 100_000 + b"y" * 50_000}
    assert server.count("getFile") == 1


async def test_a_download_that_ends_before_its_first_bytes_is_retried(server):
    broke = [broken(promised=8, error=httpx.ReadError("reset")), httpx.Response(503), httpx.ConnectError("refused")]
    server.replies["getFile"] = [*broke, FILE]
    async with server.client() as client:
        assert await content(client, "7") == b"the file"
    assert server.count("getFile") == 4


async def test_a_download_that_always_ends_early_fails_and_the_server_does_not_count_as_down(server):
    server.replies["getFile"] = [lambda _: broken(promised=8, error=httpx.ReadError("reset"))]
    async with server.client() as client:
        for _ in range(3):
            with pytest.raises(AccessAnywhereUnavailable, match="ends early"):
                await content(client, "7")
        assert not client.circuit.is_open
        assert client.concurrency.limit == client.concurrency.most


async def test_a_file_without_a_content_length_is_read_to_its_end(server):
    server.replies["getFile"] = [httpx.Response(200, stream=Broken(b"the ", b"file"))]
    async with server.client() as client, client.download("7") as download:
        assert download.size is None
        assert b"".join([chunk async for chunk in download]) == b"the file"


async def test_a_reader_that_stops_early_leaves_no_open_connection(server):
    server.replies["getFile"] = [lambda _: broken(*[b"x" * 100_000] * 10, promised=1_000_000)]
    async with server.client() as client:
        for _ in range(3 * DOWNLOADS):
            async with client.download("7") as download:
                async for _chunk in download:
                    break


def unreadable(message: str, code: str, *, vendor: str = "NAA") -> httpx.Response:
    encoded = base64.b64encode(message.encode()).decode()
    headers = {f"X-{vendor}-DOWNLOAD-ERROR": encoded, f"X-{vendor}-DOWNLOAD-ERROR-STATUS": code}
    return httpx.Response(200, headers=headers, content=b"<html>")


@pytest.mark.parametrize("vendor", ["NAA", "SME"])
async def test_an_error_in_the_headers_is_read_under_both_names(server, vendor):
    server.replies["getFile"] = [unreadable("Kein Zugriff auf ä", "no_access", vendor=vendor)]
    async with server.client() as client:
        with pytest.raises(CallFailed, match="Kein Zugriff auf ä") as caught:
            await content(client, "7")
    assert caught.value.code == "no_access"


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({"X-PROVIDER-DOWNLOAD-ERROR": "Z29uZQ==", "X-PROVIDER-DOWNLOAD-ERROR-CODE": "NoSuchKey"}, "NoSuchKey", "gone"),
        ({"X-PROVIDER-DOWNLOAD-ERROR-CODE": "NoSuchKey"}, "NoSuchKey", "NoSuchKey"),
        ({"X-NAA-DOWNLOAD-ERROR": "not base64!"}, "download_error", "not base64!"),
        ({"X-NAA-DOWNLOAD-ERROR": "/w=="}, "download_error", "\ufffd"),
    ],
)
async def test_an_error_in_the_headers_may_lack_any_part(server, headers, code, message):
    server.replies["getFile"] = [httpx.Response(200, headers=headers)]
    async with server.client() as client:
        with pytest.raises(CallFailed) as caught:
            await content(client, "7")
    assert caught.value.code == code
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/octet-stream"])
async def test_an_envelope_in_place_of_a_file_is_an_answer(server, kind):
    body = b'{"status": "no_access", "statusmessage": "Not yours", "taskid": "0"}'
    server.replies["getFile"] = [httpx.Response(200, content=body, headers={"Content-Type": kind})]
    async with server.client() as client:
        with pytest.raises(CallFailed, match="Not yours") as caught:
            await content(client, "7")
    assert caught.value.code == "no_access"


@pytest.mark.parametrize("expired", [unreadable("Log in", "login_token_expired"), {"status": "login_token_expired"}])
async def test_an_expired_token_is_renewed_once_and_the_download_is_repeated(server, expired):
    server.replies["getFile"] = [expired, FILE]
    async with server.client() as client:
        assert await content(client, "7") == b"the file"
    assert [form["token"] for function, form in server.asked if function == "getFile"] == ["token-1", "token-2"]
    server.replies["getFile"] = [expired]
    async with server.client() as client:
        with pytest.raises(LoginFailed):
            await content(client, "7")


async def test_a_download_waits_for_a_background_task_that_blocks_it(server):
    server.replies["getFile"] = [{"status": "error_background"}, unreadable("Wait", "error_background"), FILE]
    async with server.client() as client:
        assert await content(client, "7") == b"the file"
    assert server.clock.slept == [1.0, 2.0]


@pytest.mark.parametrize("status", [403, 404, 302])
async def test_an_http_refusal_is_not_a_file(server, status):
    server.replies["getFile"] = [httpx.Response(status, content=b"Forbidden")]
    async with server.client() as client:
        with pytest.raises(CallFailed) as caught:
            await content(client, "7")
    assert caught.value.code == f"http-{status}"


# Uploads

REPORT = b"the report"
STORED = {"status": "ok", "file": {"fi_id": "9", "fi_name": "report", "fi_type": "0", "fi_size": "10"}}


def received(**fields) -> dict:
    return {"success": "y", "filesize": str(len(REPORT)), "md5": md5(REPORT).hexdigest()} | fields


def taking_uploads(server: Server, *answers: Reply) -> None:
    codes = iter(range(1, 100))
    server.replies["doInitUpload"] = [lambda _: {"status": "ok", "uploadcode": f"code {next(codes)}"}]
    server.replies["uploader"] = list(answers) or [received()]
    server.replies["doCompleteUpload"] = [STORED]


async def test_an_upload_is_announced_sent_and_completed(server):
    sent: list[httpx.Request] = []

    def uploader(request: httpx.Request) -> dict:
        sent.append(request)
        return received()

    taking_uploads(server)
    server.replies["uploader"] = [uploader]
    async with server.client() as client:
        assert (await client.upload("3", "report", REPORT)).id == "9"
    (_, announced), _, (_, completed) = server.asked[1:]
    about = {"fi_name": "report", "fi_filename": "report", "fi_pid": "3", "fi_size": "10", "responsetype": "json"}
    assert about.items() <= announced.items()
    assert (completed["uploadcode"], completed["fi_size"]) == ("code 1", "10")
    assert str(sent[0].url) == "https://aa.test/sub/cgi-bin/uploader/uploader1.cgi?code%201"
    [part] = parts(sent[0])
    assert part.get_param("name", header="content-disposition") == "datafile"
    assert part.get_payload(decode=True) == REPORT


def parts(request: httpx.Request) -> list[EmailMessage]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    return list(BytesParser(EmailMessage, policy=HTTP).parsebytes(head + request.content).iter_parts())


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(503),
        httpx.ReadError("reset"),
        {"success": "n", "error": "disk full"},
        received(filesize=3),
        received(md5="0" * 32),
    ],
    ids=repr,
)
async def test_an_upload_that_fails_is_repeated_with_another_code(server, failure):
    taking_uploads(server, failure, received())
    async with server.client() as client:
        assert (await client.upload("3", "report", REPORT)).id == "9"
    assert (server.count("doInitUpload"), server.count("uploader"), server.count("doCompleteUpload")) == (2, 2, 1)
    assert server.asked[-1][1]["uploadcode"] == "code 2"


async def test_an_upload_whose_completion_is_not_answered_is_repeated(server):
    taking_uploads(server)
    server.replies["doCompleteUpload"] = [httpx.ReadError("reset"), {"status": "upload_not_found"}, STORED]
    async with server.client() as client:
        assert (await client.upload("3", "report", REPORT)).id == "9"
    assert server.count("doInitUpload") == 2


async def test_an_upload_fails_after_three_tries(server):
    taking_uploads(server, {"success": "n", "error": "disk full"})
    async with server.client() as client:
        with pytest.raises(CallFailed, match="disk full"):
            await client.upload("3", "report", REPORT)
    assert server.count("uploader") == 3


async def test_an_upload_waits_for_a_background_task_that_blocks_it(server):
    taking_uploads(server)
    server.replies["doCompleteUpload"] = [{"status": "error_background"}, STORED]
    async with server.client() as client:
        await client.upload("3", "report", REPORT)
    assert server.count("doInitUpload") == 1
    assert server.clock.slept == [1.0]


@pytest.mark.parametrize("spelling", [{"success": True}, {"filesize": 10}, {"filesize": "", "md5": None}])
async def test_the_uploader_may_use_every_spelling_of_the_api(server, spelling):
    taking_uploads(server, received(**spelling))
    async with server.client() as client:
        assert await client.upload("3", "report", REPORT)


async def test_an_announcement_without_a_code_is_malformed(server):
    taking_uploads(server)
    server.replies["doInitUpload"] = [{"status": "ok"}]
    async with server.client() as client:
        with pytest.raises(AnswerMalformed):
            await client.upload("3", "report", REPORT)


@pytest.mark.parametrize(
    "reply",
    [
        unreadable("no: token-1", "no_access"),
        {"status": "no_access", "statusmessage": "no: token-1"},
        httpx.ReadError("in token-1"),
        httpx.Response(403, text="token-1"),
    ],
    ids=repr,
)
async def test_no_error_or_log_of_a_file_contains_a_secret(server, reply):
    server.replies["getFile"] = [reply]
    with structlog.testing.capture_logs() as logged:
        async with server.client() as client:
            with pytest.raises(AccessAnywhereError) as caught:
                await content(client, "7")
    assert "token-1" not in str(caught.value)
    assert "token-1" not in repr(logged)
