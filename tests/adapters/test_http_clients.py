"""The HTTP port over real sockets: what it answers, to whom, and that slow clients hold nothing up."""

import asyncio
import json
import re
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec
import pytest
import structlog
from tests.adapters.statuses import COMMON, HOSTILE, STATUSES, full

from jibe_sqs.adapters.web import Login, Sources, connections, http_server, page, server
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.status import Status

IN_SYNC = STATUSES["in-sync"]
LOGIN = Login("ope rator", "pass:wörd")
PAGES = ("/", "/?still", "/status.json", "/metrics", "/style.css", "/page.js", "/icon.svg")
PATIENCE = 30.0


class Snapshots:
    """A source of snapshots that counts how often it is asked."""

    def __init__(self, status: Status = IN_SYNC) -> None:
        self.status = status
        self.asked = 0

    async def __call__(self) -> Status:
        self.asked += 1
        await asyncio.sleep(0)
        return self.status


async def metrics() -> tuple[bytes, str]:
    return b"up 1\n", "text/plain; version=1.0.0; charset=utf-8"


@asynccontextmanager
async def served(status=None, **options):
    sources = Sources(health=Health(), status=status or Snapshots(), metrics=metrics)
    async with (
        http_server("127.0.0.1", 0, sources, **options) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http,
    ):
        http.port = port
        yield http


@pytest.fixture
def short_steps(monkeypatch):
    """A client has a tenth of a second."""
    monkeypatch.setattr(connections, "STEP_TIMEOUT", 0.1)


async def opened(stack: AsyncExitStack, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    return reader, writer


async def written_for_ever(writer: asyncio.StreamWriter) -> None:
    """Write bytes until the server has ended the connection."""
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def until_cut_off(reader: asyncio.StreamReader) -> bytes:
    """What comes before the server ends the connection."""
    found = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(1 << 16):
                found += part
    except ConnectionResetError:
        pass
    return found


# What is answered


async def test_each_path_has_its_content_type():
    async with served() as http:
        found = {path: await http.get(path) for path in PAGES}
    assert {each.status_code for each in found.values()} == {200}
    types = {path: each.headers["content-type"].partition(";")[0] for path, each in found.items()}
    assert types == {
        "/": "text/html",
        "/?still": "text/html",
        "/status.json": "application/json",
        "/metrics": "text/plain",
        "/style.css": "text/css",
        "/page.js": "text/javascript",
        "/icon.svg": "image/svg+xml",
    }
    assert found["/metrics"].content == b"up 1\n"


async def test_the_json_is_the_snapshot():
    async with served() as http:
        assert msgspec.json.decode((await http.get("/status.json")).content, type=Status) == IN_SYNC


async def test_head_has_the_headers_and_no_body():
    async with served() as http:
        for path in (*PAGES, "/livez"):
            found = await http.head(path)
            assert (found.status_code, found.content) == (200, b"")
            assert int(found.headers["content-length"]) > 0


async def test_other_paths_are_not_found_and_other_methods_are_refused():
    async with served() as http:
        for path in ("/x", "/status", "/templates/page.html", "/../page.html", "/%2e%2e/page.html", "/static/page.js"):
            assert (await http.get(path)).status_code == 404
        for path in (*PAGES, "/livez", "/readyz"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                assert (await http.request(method, path)).status_code == 405


async def test_without_a_status_and_metrics_only_the_probes_are_answered():
    async with http_server("127.0.0.1", 0, Sources(health=Health())) as port, httpx.AsyncClient() as http:
        for path in PAGES:
            assert (await http.get(f"http://127.0.0.1:{port}{path}")).status_code == 404
        assert (await http.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_each_answer_has_the_security_headers():
    async with served(login=LOGIN) as http:
        for path, auth in (("/", True), ("/", False), ("/livez", False), ("/x", True), ("/style.css", True)):
            headers = (await http.get(path, auth=(LOGIN.name, LOGIN.password) if auth else None)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers.get_list("cache-control", split_commas=True) == ["no-store"]
            assert headers["referrer-policy"] == "no-referrer"


# The login


async def test_everything_but_the_probes_needs_the_login():
    async with served(login=LOGIN) as http:
        for path in (*PAGES, "/x"):
            found = await http.get(path)
            assert found.status_code == 401
            assert found.headers["www-authenticate"].startswith("Basic ")
            assert IN_SYNC.sentence not in found.text
        assert (await http.get("/livez")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        for path in PAGES:
            assert (await http.get(path, auth=httpx.BasicAuth(LOGIN.name, LOGIN.password))).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Bearer b3BlOnc=", "Basic b3BlOnc=", "Basic " + "A" * 4000, "Basic é", "basic :"]
)
async def test_a_wrong_login_is_refused(header):
    async with served(login=LOGIN) as http:
        assert (await http.get("/", headers={"Authorization": header.encode()})).status_code == 401


async def test_the_login_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *both: compared.append(both) or False)
    async with served(login=LOGIN) as http:
        assert (await http.get("/", auth=("a", "b"))).status_code == 401
    assert compared == [(b"a:b", "ope rator:pass:wörd".encode())]


def test_the_password_is_not_in_the_text_of_a_login():
    assert LOGIN.password not in repr(LOGIN)


# Foreign texts, and a hostile Host


async def test_no_foreign_text_becomes_markup():
    hostile = msgspec.structs.replace(
        full(3), sentence=HOSTILE, instance=HOSTILE, settings_problem=HOSTILE, reasons=[HOSTILE], skipped={HOSTILE: 3}
    )
    async with served(Snapshots(hostile)) as http:
        for host in ("127.0.0.1", '"><script>', "evil.example"):
            text = (await http.get("/", headers={"Host": host})).text
            assert "<script>alert" not in text
            assert "<img src=x" not in text
            assert "\u202e" not in text
            assert "evil.example" not in text
            assert text.count("<script") == 1


# One rendering for all


async def test_clients_of_the_same_second_share_a_snapshot_and_its_rendering(monkeypatch):
    """The second is an hour here, on a machine of any speed."""
    monkeypatch.setattr(page, "KEPT", 3600.0)
    rendered = Counter()
    html = page.html
    monkeypatch.setattr(page, "html", lambda status, **options: rendered.update(["html"]) or html(status, **options))
    snapshots = Snapshots()
    async with served(snapshots) as http:
        found = await asyncio.gather(*(http.get(path) for path in ("/", "/", "/status.json", "/") for _ in range(10)))
    assert {each.status_code for each in found} == {200}
    assert snapshots.asked == 1
    assert rendered["html"] == 1


async def test_the_page_is_bounded_and_says_how_much_is_left_out():
    async with served(Snapshots(full(1000))) as http:
        text = (await http.get("/")).text
    assert len(text) < 400_000
    assert text.count("and 980 more") >= 8
    assert "and 990 more" in text


async def test_a_defect_of_the_snapshot_is_answered_and_logged_and_the_probes_go_on():
    async def defect() -> Status:
        raise ValueError("SECRET")

    async with served(defect) as http:
        with structlog.testing.capture_logs() as lines:
            found = await http.get("/")
        assert [(each["event"], each["path"]) for each in lines] == [("page_failed", "/")]
        assert found.status_code == 503
        assert "SECRET" not in found.text
        assert (await http.get("/livez")).status_code == 200


async def test_a_snapshot_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(server, "SOURCE_TIMEOUT", 0.05)

    async def never() -> Status:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(never) as http:
        assert (await http.get("/status.json")).status_code == 503
        assert (await http.get("/livez")).status_code == 200


def test_times_are_relative_and_their_titles_exact():
    text = page.html(STATUSES["held-up"]).decode()
    assert '<time datetime="2026-11-29T23:57:05Z" title="2026-11-29 23:57:05 UTC">3 min ago</time>' in text


def test_each_chart_has_a_text():
    texts = re.findall(r'role="img" aria-label="([^"]*)"', page.html(STATUSES["held-up"]).decode())
    assert [text.partition(".")[0] for text in texts] == ["Events a minute", "Refreshes a minute"]
    assert "in the last whole minute, at most 567, at 23:4" in texts[0]
    assert texts[1].endswith("56 failed.")


# Slow clients


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_a_client_that_sends_a_part_of_a_request_and_waits_is_cut_off(short_steps, sent):
    async with served() as http, AsyncExitStack() as stack:
        reader, writer = await opened(stack, http.port)
        writer.write(sent)
        assert await until_cut_off(reader) == b""
        assert (await http.get("/livez")).status_code == 200


async def test_a_client_that_sends_a_byte_at_a_time_is_cut_off(short_steps):
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with served() as http, AsyncExitStack() as stack:
        reader, writer = await opened(stack, http.port)
        task = asyncio.create_task(trickle(writer))
        assert await until_cut_off(reader) == b""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_endless_body_is_refused_and_cut_off(short_steps):
    async with served() as http, AsyncExitStack() as stack:
        reader, writer = await opened(stack, http.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nx")
        assert b" 405 " in await until_cut_off(reader)


async def test_a_client_that_never_reads_is_cut_off_and_holds_nothing_up(short_steps):
    """Many requests at once: their answers do not fit into the buffers of the sockets."""
    async with served(Snapshots(full(1000))) as http, AsyncExitStack() as stack:
        _, writer = await opened(stack, http.port)
        writer.transport.pause_reading()
        writer.write(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        for _ in range(5):
            assert (await http.get("/livez")).status_code == 200
        # While it reads nothing, the server ends the connection: a write fails then.
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionError):
                await written_for_ever(writer)
        assert (await http.get("/livez")).status_code == 200


async def test_two_hundred_idle_connections_leave_room_for_the_probes():
    """The connections that have waited longest are closed; the newest stay."""
    async with served() as http, AsyncExitStack() as stack:
        idle = [await opened(stack, http.port) for _ in range(200)]
        assert (await http.get("/livez")).status_code == 200
        assert (await http.get("/")).status_code == 200
        closed = await asyncio.gather(*(until_cut_off(reader) for reader, _ in idle[:100]))
        assert closed == [b""] * 100
        last_reader, last = idle[-1]
        last.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in await until_cut_off(last_reader)


async def test_an_answer_on_its_way_is_not_cut_off_for_a_new_connection(monkeypatch):
    asked, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> Status:
        asked.set()
        await go.wait()
        return IN_SYNC

    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    async with served(slowly) as http, AsyncExitStack() as stack:
        answer = asyncio.create_task(http.get("/status.json"))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        idle = [await opened(stack, http.port) for _ in range(10)]
        await until_cut_off(idle[0][0])
        go.set()
        assert (await answer).status_code == 200


async def test_the_stop_does_not_wait_for_a_client_that_never_reads():
    async with AsyncExitStack() as stack, served(Snapshots(full(1000))) as http:
        # The server stops before the client's end of the connection is closed.
        _, writer = await opened(stack, http.port)
        writer.transport.pause_reading()
        writer.write(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        assert (await http.get("/livez")).status_code == 200


def test_the_common_fields_of_the_snapshots_are_fields_of_the_status():
    assert set(COMMON) <= set(Status.__struct_fields__)
    assert json.loads(msgspec.json.encode(IN_SYNC))["sentence"] == IN_SYNC.sentence
