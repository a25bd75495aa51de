"""Changes reported to Access Anywhere, by a call from the settings: the requests and their effects."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import SleptClock
from tests.examples import expensive
from tests.other_refreshes import UncoalescedRefreshes
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.uses.provider_event import Batch, ProviderEventTarget
from jibe_sqs.adapters.dry_run import DryRunTarget
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.errors import CallFailed, SettingsError
from jibe_sqs.core.model import Change, Folder, Kind, ObjectEvent
from jibe_sqs.syncing.changes import Changes

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

SINGLE = {"function": "syncOnProviderEvent", "parameters": {"bucket": "{bucket}", "key": "{key}", "event": "{kind}"}}
BATCHED = {
    "function": "syncOnProviderEvent",
    "parameters": {},
    "batch": Batch("events", {"bucket": "{bucket}", "key": "{key}", "event": "{kind}"}, 3),
}
PLACES = {"my-bucket": [Place("/Amazon S3/my-bucket"), Place("/Part", "a/")]}


class Server:
    """Accepts every call, and records the parameters of all but logins. `most`: the most calls at a time."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.running = self.most = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode(), keep_blank_values=True))
        if form["function"] == "getTokenByAuthToken":
            return httpx.Response(200, json={"status": "ok", "token": "t"})
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await asyncio.sleep(0)
        self.running -= 1
        self.calls.append({name: value for name, value in form.items() if name not in ("token", "apiformat")})
        return httpx.Response(200, json={"status": "ok"})

    @asynccontextmanager
    async def target(self, *, most=8, **options):
        async with connect(
            endpoint="https://aa.test",
            permanent_token="permanent",
            clock=SleptClock(),
            origin_of=over_httpx(httpx.MockTransport(self.handle)),
        ) as client:
            yield ProviderEventTarget(client, slots=AdaptiveConcurrency(most, clock=SleptClock()), **options)


@pytest.fixture
def server():
    return Server()


def change(key="a/x", *folders, kind=Kind.WRITTEN, time=0.0):
    """A change, by default in the one folder of its key."""
    event = ObjectEvent(kind, "my-bucket", key, time)
    return Change(event, tuple(Folder(path) for path in folders or ["/Amazon S3/my-bucket/a"]))


# What is sent


async def test_a_change_is_one_call_with_the_fields_of_the_templates(server):
    async with server.target(
        function="doTell", parameters={"object": "s3://{bucket}/{key}", "where": "{path}", "format": "2"}
    ) as target:
        assert target.batch == 1
        await target.report([change("a/ä & {bucket}=1.txt")])
    assert server.calls == [
        {
            "function": "doTell",
            "object": "s3://my-bucket/a/ä & {bucket}=1.txt",
            "where": "/Amazon S3/my-bucket/a/ä & {bucket}=1.txt",
            "format": "2",
        }
    ]


async def test_each_place_gets_its_own_call_only_if_the_calls_differ(server):
    shown = change("a/x", "/One/a", "/Two/a")
    async with server.target(function="f", parameters={"path": "{path}"}) as target:
        await target.report([shown])
    async with server.target(function="g", parameters={"key": "{key}"}) as target:
        await target.report([shown])
    assert server.calls == [
        {"function": "f", "path": "/One/a/x"},
        {"function": "f", "path": "/Two/a/x"},
        {"function": "g", "key": "a/x"},
    ]


async def test_a_batch_is_one_call_with_a_list_of_items(server):
    batch = Batch("events", {"k": "{key}", "what": "{kind}"}, 5)
    async with server.target(function="f", parameters={"v": "{{2}}"}, batch=batch) as target:
        assert target.batch == 5
        await target.report([change('a/"x"'), change("a/y", kind=Kind.DELETED)])
    (call,) = server.calls
    items = [{"k": 'a/"x"', "what": "written"}, {"k": "a/y", "what": "deleted"}]
    assert call == {"function": "f", "v": "{2}", "events": call["events"]}
    assert json.loads(call["events"]) == items


async def test_a_call_has_no_more_items_than_the_batch_size_for_any_number_of_places(server):
    batch = Batch("events", {"path": "{path}"}, 2)
    async with server.target(function="f", parameters={}, batch=batch) as target:
        await target.report([change("a/x", "/One/a", "/Two/a", "/Three/a"), change("a/y", "/One/a")])
    assert [[item["path"] for item in json.loads(call["events"])] for call in server.calls] == [
        ["/One/a/x", "/Two/a/x"],
        ["/Three/a/x", "/One/a/y"],
    ]


async def test_there_are_never_more_calls_than_slots(server):
    async with server.target(most=3, **SINGLE) as target:
        await Changes(target=target, most=20).done([change(f"a/{n}") for n in range(60)])
    assert len(server.calls) == 60
    assert server.most == 3


# The settings


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"parameters": {"a": "{x}", "b": "{key!r}"}}, ["sync.parameters.a", "sync.parameters.b"]),
        ({"parameters": {"token": "{key}"}}, ["sync.parameters.token"]),
        ({"parameters": {}}, ["sync.parameters"]),
        ({"parameters": {}, "batch": Batch("function", {"k": "{key}"}, 2)}, ["sync.batch.parameter"]),
        ({"parameters": {"e": "1"}, "batch": Batch("e", {"k": "{key}"}, 2)}, ["sync.batch.parameter"]),
        (
            {"parameters": {"k": "{key}"}, "batch": Batch("e", {"k": "{kee}"}, 2)},
            ["sync.batch.item.k", "sync.parameters.k"],
        ),
    ],
)
async def test_all_mistakes_are_reported_together_with_their_settings_before_any_call(server, options, problems):
    with pytest.raises(SettingsError) as caught:
        async with server.target(function="f", **options):
            pass
    assert [problem.partition(":")[0] for problem in caught.value.problems] == problems
    assert not server.calls


# Against the sandbox's server


def configured():
    providers = (
        sandbox.Provider("Amazon S3", buckets=("my-bucket",)),
        sandbox.Provider("Part", buckets=("my-bucket",), is_bucket=True, prefix="a/"),
    )
    return sandbox.AccessAnywhereServer(
        login="jibe", password="pass word", permanent_token="permanent", providers=providers, refresh_seconds=0
    )


class Writer:
    """Writes and deletes objects, and reports the changes."""

    def __init__(self, changes: Changes, bucket) -> None:
        self._changes = changes
        self._bucket = bucket
        self._decisions = Decisions(PLACES)
        self._times = itertools.count(1.0)

    def act(self, key: str) -> Change:
        is_there = key in self._bucket.objects("my-bucket")
        if is_there:
            self._bucket.delete("my-bucket", key)
        else:
            self._bucket.put("my-bucket", key, key.encode())
        event = ObjectEvent(Kind.DELETED if is_there else Kind.WRITTEN, "my-bucket", key, next(self._times))
        return Change(event, self._decisions.decide(event).folders)

    async def report(self, *changes: Change) -> None:
        assert await self._changes.done(changes) == []


async def index(http: httpx.AsyncClient) -> dict[str, set[str]]:
    """The keys that each provider shows."""
    shown: dict[str, set[str]] = {"Amazon S3": set(), "Part": set()}
    for file in (await http.get("/sandbox/index")).json():
        shown[file["path"].split("/")[1]].add(file["key"])
    return shown


def truth(bucket) -> dict[str, set[str]]:
    keys = set(bucket.objects("my-bucket"))
    return {"Amazon S3": keys, "Part": {key for key in keys if key.startswith("a/")}}


@pytest.mark.parametrize("options", [SINGLE, BATCHED], ids=["single", "batched"])
async def test_changes_reported_over_a_socket_end_in_a_true_index(options):
    bucket = sandbox.MemoryStorage({"my-bucket": {}})
    clock = SleptClock()
    with sandbox.serving(sandbox.create_app(configured(), bucket)) as url:
        async with (
            connect(endpoint=url, permanent_token="permanent", clock=clock) as client,
            httpx.AsyncClient(base_url=url) as http,
        ):
            target = ProviderEventTarget(client, slots=client.concurrency, **options)
            writer = Writer(Changes(target=target, linger=0.001), bucket)
            keys = ["a/1", "a/b/2", "top", "ä & b/+ %2F/ü.txt", "x//y"]
            changes = [writer.act(key) for key in [*keys, "a/1", "gone", "gone", "a/1", "top"]]
            await writer.report(*changes)
            assert await index(http) == truth(bucket)
            assert set(bucket.objects("my-bucket")) == {"a/1", "a/b/2", "ä & b/+ %2F/ü.txt", "x//y"}
            events = (await http.get("/sandbox/events")).json()
            assert len(events) == len(changes)
            # The events of each object arrived unchanged and in order.
            assert [each["event"] for each in events if each["key"] == "a/1"] == ["written", "deleted", "written"]
            calls = client.calls["syncOnProviderEvent"]
            assert calls == len(changes) if options is SINGLE else calls < len(changes)


keys = st.lists(st.sampled_from(["a", "b", "", "c d"]), min_size=1, max_size=4).map("/".join)
keys = keys.filter(lambda key: key and not key.endswith("/"))


@expensive(40)
@given(
    st.lists(st.tuples(st.lists(keys, max_size=5), st.integers(0, 20)), max_size=8),
    st.sampled_from([SINGLE, BATCHED]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 9),
)
async def test_changes_during_reports_of_others_end_in_a_true_index(messages, options, failures, seed):
    """For any faults of the server: the message reports the refused changes again."""
    bucket = sandbox.MemoryStorage({"my-bucket": {}})
    app = sandbox.InProcess(sandbox.create_app(configured(), bucket))
    async with (
        httpx.AsyncClient(transport=app, base_url="http://aa") as http,
        connect(
            endpoint="http://aa", permanent_token="permanent", clock=SleptClock(), origin_of=over_httpx(app)
        ) as client,
    ):
        (await http.put("/sandbox/faults", json={"failures": failures, "seed": seed})).raise_for_status()
        target = ProviderEventTarget(client, slots=client.concurrency, **options)
        changes = Changes(target=target, most=3, linger=0.0)
        writer = Writer(changes, bucket)

        async def report(message) -> None:
            while await changes.done(message):
                await asyncio.sleep(0)

        asked = []
        for wanted, pause in messages:
            message = [writer.act(key) for key in wanted]
            asked.append(asyncio.create_task(report(message)))
            for _ in range(pause):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert await index(http) == truth(bucket)


async def test_a_refusal_has_the_servers_code_and_is_raised_to_the_caller():
    bucket = sandbox.MemoryStorage({"my-bucket": {}})
    app = sandbox.InProcess(sandbox.create_app(configured(), bucket))
    async with connect(
        endpoint="http://aa", permanent_token="permanent", clock=SleptClock(), origin_of=over_httpx(app)
    ) as client:
        target = ProviderEventTarget(
            client, function="syncOnProviderEvent", parameters={"object": "{key}"}, slots=client.concurrency
        )
        (error,) = await Changes(target=target).done([change()])
    assert isinstance(error, CallFailed)
    assert error.code == "invalid_parameter"
    assert "syncOnProviderEvent" in str(error)
    assert client.concurrency.running == 0


# Dry runs


async def test_a_dry_run_warns_once_and_logs_the_folders_that_would_be_refreshed():
    with structlog.testing.capture_logs() as events:
        target = DryRunTarget()
        began = []
        await target.refresh(Folder("/data/a", tree=True), lambda: began.append(True), UncoalescedRefreshes(target))
    assert began == [True]
    assert [(event["log_level"], event["event"]) for event in events] == [
        ("warning", "dry_run"),
        ("debug", "would_refresh"),
    ]
    assert events[1]["folder"] == "/data/a/**"
    assert "messages are deleted" in events[0]["consequence"]
