"""The DynamoDB ledger: replicas that share a table, items that expire, and a DynamoDB that fails, throttles or is down."""

import asyncio
import json
import socket
from collections import Counter
from contextlib import AsyncExitStack
from itertools import count

import aiohttp
import pytest
from aiohttp import web
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ExponentialBackoff
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jibe_sqs.adapters.ledgers import table
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.adapters.ledgers.table import FAILURE_LIMIT, PAUSE, ConditionFailed, Refused
from jibe_sqs.compose import stores
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import Actor, Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.settings import Rules, load

LOG = LogFile("logs", "a/log.json.gz")
A = Folder("/data/a")
REGION = "eu-west-1"
RETAIN = 5.0
VERSIONS = (None, "v1", "v2")
NUMBER = count(1)


class Time:
    """A clock that a test sets."""

    def __init__(self, time=1000.0):
        self.time = time

    def __call__(self):
        return self.time


class Proxy:
    """A proxy to DynamoDB. It passes on at most `room` keys or items of a batch, and returns the others as unprocessed.

    `fault` returns the name of an error to answer with, or None.
    """

    def __init__(self, upstream):
        self._upstream = upstream
        self.room = 100
        self.fault = lambda _operation: None
        self.calls = Counter()
        self.consistent = []
        self.largest = 0
        self.endpoint = ""

    async def answer(self, request):
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        self.calls[operation] += 1
        body = json.loads(await request.read())
        if fault := await self._fault(operation):
            status = 500 if fault == "InternalServerError" else 400
            return self._json({"__type": f"com.amazonaws.dynamodb.v20120810#{fault}", "message": "words"}, status)
        left = self._leave_out(body) if operation.startswith("Batch") else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._upstream, data=json.dumps(body), headers=_without_length(request.headers)) as answer,
        ):
            body = json.loads(await answer.read())
            status = answer.status
        if left:
            body["UnprocessedKeys" if operation == "BatchGetItem" else "UnprocessedItems"] = left
        return self._json(body, status)

    async def _fault(self, operation):
        fault = self.fault(operation)
        return await fault if asyncio.iscoroutine(fault) else fault

    def _leave_out(self, body):
        ((name, asked),) = body["RequestItems"].items()
        if isinstance(asked, dict):
            self.consistent.append(asked["ConsistentRead"])
            asked["Keys"], more = asked["Keys"][: self.room], asked["Keys"][self.room :]
            self.largest = max(self.largest, len(asked["Keys"]) + len(more))
            return {name: {**asked, "Keys": more}} if more else {}
        body["RequestItems"][name], more = asked[: self.room], asked[self.room :]
        self.largest = max(self.largest, len(asked))
        return {name: more} if more else {}

    @staticmethod
    def _json(body, status):
        return web.Response(text=json.dumps(body), status=status, content_type="application/x-amz-json-1.0")


def _without_length(headers):
    return {name: value for name, value in headers.items() if name.lower() not in ("content-length", "host")}


@pytest.fixture
async def proxy(endpoint):
    proxy = Proxy(endpoint)
    app = web.Application()
    app.router.add_post("/", proxy.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy.endpoint = "http://{}:{}".format(*runner.addresses[0])
    yield proxy
    await runner.cleanup()


@pytest.fixture
def without_pauses(monkeypatch):
    """No pauses between tries."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    monkeypatch.setattr(table, "BATCH_BACKOFF", Backoff(0.0, 0.0))


@pytest.fixture
def name(new_table):
    return new_table()


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def ledger(name, proxy, table_ledger, without_pauses, clock):
    async with table_ledger(name, Time(), endpoint=proxy.endpoint, clock=clock) as ledger:
        proxy.calls.clear()
        yield ledger


def everything(ledger):
    """Every call of the `Ledger` port."""
    return {
        "is_finished": ledger.is_finished(LOG),
        "unfinished": ledger.unfinished([LOG]),
        "finish": ledger.finish(LOG, "e"),
        "watermarks": ledger.watermarks([A]),
        "refreshed": ledger.refreshed(A, 1.0),
        "observe": ledger.observe({"ana": Seen(1.0, 1.0)}),
        "principals": ledger.principals(),
    }


async def errors_of(ledger):
    outcomes = await asyncio.gather(*everything(ledger).values(), return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


# Replicas


async def test_replicas_see_each_others_records(name, table_ledger):
    async with table_ledger(name) as one, table_ledger(name) as other:
        await asyncio.gather(
            *(each.finish(LogFile("logs", f"{i}"), "e") for i in range(60) for each in (one, other)),
            *(each.refreshed(A, float(i)) for i in range(20) for each in (one, other)),
            *(each.observe({"ana": Seen(float(i), float(i))}) for i in range(10) for each in (one, other)),
        )
        await one.finish(LOG, "e")
        assert await other.is_finished(LOG)
        assert await other.unfinished([LogFile("logs", f"{i}") for i in range(60)]) == []
        assert await one.watermarks([A]) == await other.watermarks([A]) == {A: 19.0}
        assert await one.principals() == await other.principals() == {"ana": Seen(0.0, 9.0, 20)}


@pytest.fixture
def replicas(new_table, table_ledger):
    """Two ledgers of one table, a function that runs their calls, and the clock. Opened once for many examples."""
    name, time = new_table(), Time()
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        both = [runner.run(opened.enter_async_context(table_ledger(name, time, retain=RETAIN))) for _ in range(2)]
        yield runner.run, both, time
        runner.run(opened.aclose())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    marks=st.lists(
        st.lists(st.integers(0, 2**33).map(lambda eighths: eighths / 8), min_size=1, max_size=6), min_size=2, max_size=4
    )
)
def test_a_watermark_of_several_writers_only_grows(replicas, marks):
    run, both, _ = replicas
    folder = Folder(f"/{next(NUMBER)}")

    async def main():
        seen, writing = [], True

        async def write(ledger, mine):
            for began in mine:
                await ledger.refreshed(folder, began)

        async def look():
            while writing:
                seen.append((await both[0].watermarks([folder])).get(folder, float("-inf")))
            seen.append((await both[1].watermarks([folder]))[folder])

        looking = asyncio.create_task(look())
        await asyncio.gather(*(write(both[i % 2], mine) for i, mine in enumerate(marks)))
        writing = False
        await looking
        assert seen == sorted(seen)
        assert seen[-1] == max(began for mine in marks for began in mine)

    run(main())


_calls = st.lists(
    st.one_of(
        st.tuples(st.just("finish"), st.integers(0, 1), st.sampled_from(VERSIONS), st.sampled_from(["e1", "e2", ""])),
        st.tuples(st.just("refreshed"), st.integers(0, 1), st.booleans(), st.integers(-10, 10)),
        st.tuples(st.just("observe"), st.integers(0, 1), st.integers(1, 9), st.integers(-10, 10)),
        st.tuples(st.just("wait"), st.integers(1, 6), st.none(), st.none()),
    ),
    max_size=15,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=_calls)
def test_a_table_gives_the_same_answers_as_a_ledger_that_is_always_pruned(replicas, calls):
    run, (shared, _), time = replicas
    bucket = f"logs-{next(NUMBER)}"

    async def main():
        memory = MemoryLedger(time)
        for what, number, third, last in calls:
            if what == "wait":
                time.time += number
                # An item expires exactly after this time.
                await memory.prune(time.time - RETAIN + 0.5)
                continue
            for ledger in (memory, shared):
                if what == "finish":
                    await ledger.finish(LogFile(bucket, str(number), third), last)
                elif what == "refreshed":
                    await ledger.refreshed(Folder(f"/{bucket}/{number}", tree=third), float(last))
                else:
                    await ledger.observe({f"{bucket}/{number}": Seen(float(last - third), float(last), third)})
        folders = [Folder(f"/{bucket}/{i}", tree=tree) for i in range(2) for tree in (False, True)]
        assert await memory.watermarks(folders) == await shared.watermarks(folders)
        everybody = await shared.principals()
        assert await memory.principals() == {w: seen for w, seen in everybody.items() if w.startswith(f"{bucket}/")}
        files = [LogFile(bucket, str(i), v, e) for i in range(2) for v in VERSIONS for e in (None, "e1", "e2")]
        assert await memory.unfinished(files) == await shared.unfinished(files)

    run(main())


@pytest.mark.parametrize("before", [0, 1])
async def test_a_principal_counted_by_two_replicas_at_once_is_counted_twice(
    name, proxy, table_ledger, without_pauses, before
):
    """The other replica writes between our read and our write."""
    async with table_ledger(name, endpoint=proxy.endpoint) as one, table_ledger(name) as other:
        for _ in range(before):
            await other.observe({"ana": Seen(2.0, 2.0)})

        async def meanwhile():
            if proxy.calls["PutItem"] == 1:
                await other.observe({"ana": Seen(1.0, 3.0)})

        proxy.fault = lambda operation: meanwhile() if operation == "PutItem" else None
        await one.observe({"ana": Seen(2.0, 2.0)})
        assert proxy.calls["PutItem"] == 2
        assert await one.principals() == {"ana": Seen(1.0, 3.0, 2 + before)}


async def test_a_command_opens_the_configured_table(name, table_ledger, endpoint, monkeypatch):
    async with table_ledger(name) as ledger:
        await ledger.observe({f"p{i}": Seen(1.0, 2.0, i + 1) for i in range(3)})
        await ledger.finish(LOG, "e")
    configured = {"kind": "dynamodb", "table": name, "region": REGION, "endpoint": endpoint}
    configured |= {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    for setting, value in configured.items():
        monkeypatch.setenv(f"JIBE_LEDGER__{setting.upper()}", value)
    async with stores.ledger(load(Rules)) as looked_at:
        assert await looked_at.principals() == {f"p{i}": Seen(1.0, 2.0, i + 1) for i in range(3)}


# Items


async def test_an_expired_item_is_ignored_before_dynamodb_deletes_it(name, table_ledger, endpoint):
    time = Time()
    async with table_ledger(name, time, retain=500) as ledger:
        await ledger.finish(LOG, "e")
        await ledger.refreshed(A, 5.0)
        await ledger.observe({"ana": Seen(1.0, 2.0, 3)})
        time.time = 1499.0
        assert await ledger.is_finished(LOG)
        time.time = 1500.0
        assert client(endpoint, "dynamodb", REGION).scan(TableName=name)["Count"] == 3
        assert not await ledger.is_finished(LOG)
        assert await ledger.unfinished([LOG]) == [LOG]
        assert await ledger.watermarks([A]) == {}
        assert await ledger.principals() == {}
        # The count starts again instead of being continued.
        await ledger.refreshed(A, 4.0)
        await ledger.observe({"ana": Seen(7.0, 8.0)})
        assert await ledger.watermarks([A]) == {A: 4.0}
        assert await ledger.principals() == {"ana": Seen(7.0, 8.0, 1)}


async def test_a_principal_of_an_earlier_release_is_counted_on(name, table_ledger, endpoint):
    """Its item has neither reads nor an actor."""
    dynamodb = client(endpoint, "dynamodb", REGION)
    item = {"pk": {"S": "p#ana"}, "who": {"S": "ana"}} | {
        field: {"N": number}
        for field, number in {"first": "1.0", "last": "2.0", "seen": "3", "expires": "9999999999"}.items()
    }
    dynamodb.put_item(TableName=name, Item=item)
    async with table_ledger(name, Time(1000.0)) as ledger:
        assert await ledger.principals() == {"ana": Seen(1.0, 2.0, 3)}
        await ledger.observe({"ana": Seen(4.0, 5.0, 0, 2, Actor("ana"))})
        await ledger.observe({"ana": Seen(4.0, 6.0, 0, 2)})
        assert await ledger.principals() == {"ana": Seen(1.0, 6.0, 3, 4, Actor("ana"))}


async def test_every_item_has_its_expiry_in_whole_seconds(name, table_ledger, endpoint):
    """Otherwise DynamoDB would keep it for ever."""
    async with table_ledger(name, Time(1000.25), retain=500) as ledger:
        await ledger.finish(LOG, "e")
        await ledger.refreshed(A, 5.0)
        await ledger.observe({"ana": Seen(1.0, 2.0)})
    items = client(endpoint, "dynamodb", REGION).scan(TableName=name)["Items"]
    assert [item["expires"] for item in items] == [{"N": "1501"}] * 3


@pytest.mark.parametrize("length", [1, 2046, 2047, 4096])
async def test_names_of_any_length_are_recorded_and_distinguished(ledger, length):
    text = ("ü" * length)[: length // 2] + "x" * (length % 2)
    assert len(text.encode()) == length
    for name in (text, text + "/"):
        assert not await ledger.is_finished(LogFile("b" * 63, name))
        await ledger.finish(LogFile("b" * 63, name), "e")
        await ledger.refreshed(Folder(name), 1.0)
        assert await ledger.is_finished(LogFile("b" * 63, name))
        assert await ledger.watermarks([Folder(name), Folder(name + "x")]) == {Folder(name): 1.0}
    await ledger.observe({text: Seen(1.0, 1.0), text + "/": Seen(2.0, 2.0)})
    assert await ledger.principals() == {text: Seen(1.0, 1.0), text + "/": Seen(2.0, 2.0)}


async def test_a_slash_in_a_bucket_name_is_not_confused_with_a_longer_key(ledger):
    await ledger.finish(LogFile("a/b", "c"), "e")
    assert not await ledger.is_finished(LogFile("a", "b/c"))
    assert not await ledger.is_finished(LogFile("a%2Fb", "c"))


async def test_an_item_that_cannot_be_written_does_not_fail_its_batch(ledger):
    """A lone surrogate cannot be encoded, and an announced version may have a megabyte."""
    bad = [
        ledger.finish(LogFile("logs", "\ud800"), "e"),
        ledger.finish(LogFile("logs", "k", etag="\ud800"), ""),
        ledger.finish(LogFile("logs", "k", version="v" * 1_000_000), "e"),
        ledger.refreshed(Folder("/\ud800"), 1.0),
        ledger.refreshed(A, float("nan")),
        ledger.refreshed(A, float("-inf")),
        ledger.observe({"bo": Seen(1.0, 1.0), "\ud800": Seen(1.0, 1.0)}),
        ledger.observe({"bo": Seen(1.0, 1.0), "p" * 500_000: Seen(1.0, 1.0)}),
    ]
    good = [ledger.finish(LOG, "e"), ledger.observe({"ana": Seen(1.0, 1.0)})]
    outcomes = await asyncio.gather(*bad, *good, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LedgerError] * len(bad) + [type(None)] * len(good)
    assert await ledger.is_finished(LOG)
    assert await ledger.principals() == {"ana": Seen(1.0, 1.0)}
    with pytest.raises(LedgerError):
        await ledger.unfinished([LOG, LogFile("logs", "\ud800")])


async def test_a_huge_principal_in_a_log_does_not_count_as_a_failure_of_the_table(ledger, proxy):
    """An item has at most 400 KB, a record up to 4 MiB. Found: each such file counted as a failure of the table."""
    for number in range(table.FAILURE_LIMIT):
        with pytest.raises(LedgerError, match="too long for the ledger"):
            await ledger.observe({f"{number}" * 500_000: Seen(1.0, 1.0)})
    assert not proxy.calls
    assert not await ledger.is_finished(LOG)


async def test_a_foreign_item_is_an_error_with_a_remedy(ledger, name, endpoint):
    for key in (f"f##{LOG.bucket}/{LOG.key}", f"w#{A.path}", "p#ana"):
        client(endpoint, "dynamodb", REGION).put_item(TableName=name, Item={"pk": {"S": key}})
    with pytest.raises(LedgerError, match="a separate table"):
        await ledger.is_finished(LOG)
    with pytest.raises(LedgerError, match="a separate table"):
        await ledger.watermarks([A])
    with pytest.raises(LedgerError, match="a separate table"):
        await ledger.observe({"ana": Seen(1.0, 1.0)})


# Numbers of calls


async def test_reads_are_batched_by_100_and_writes_by_25(ledger, proxy):
    files = [LogFile("logs", f"{i}") for i in range(250)]
    await asyncio.gather(*(ledger.finish(file, "e") for file in files))
    assert (proxy.calls, proxy.largest) == ({"BatchWriteItem": 10}, 25)
    proxy.calls.clear()
    assert await ledger.unfinished([*files, *files, LOG]) == [LOG]
    assert (proxy.calls, proxy.largest) == ({"BatchGetItem": 3}, 100)


async def test_look_ups_that_come_at_the_same_time_share_a_call(ledger, proxy):
    files = [LogFile("logs", f"{i}") for i in range(150)]
    await asyncio.gather(*(ledger.finish(file, "e") for file in files[::2]))
    proxy.calls.clear()
    known = await asyncio.gather(*(ledger.is_finished(file) for file in files))
    assert known == [i % 2 == 0 for i in range(150)]
    assert proxy.calls == {"BatchGetItem": 2}
    proxy.calls.clear()
    marks = await asyncio.gather(*(ledger.watermarks([A, Folder(f"/{i}")]) for i in range(50)))
    assert (marks, proxy.calls) == ([{}] * 50, {"BatchGetItem": 1})


async def test_a_cancelled_look_up_does_not_cancel_those_that_share_its_call(ledger):
    await ledger.finish(LOG, "e")
    cancelled, other = asyncio.create_task(ledger.is_finished(LOG)), asyncio.create_task(ledger.is_finished(LOG))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await other
    assert cancelled.cancelled()


async def test_reads_are_consistent_only_where_the_last_write_matters(ledger, proxy):
    await ledger.is_finished(LOG)  # consistent: another replica may have finished it just now
    await ledger.observe({"ana": Seen(1.0, 1.0)})  # consistent: otherwise counts of another replica would be lost
    assert proxy.consistent == [True, True]
    await ledger.unfinished([LOG])
    await ledger.watermarks([A])
    assert proxy.consistent[2:] == [False, False]


async def test_a_file_finished_several_times_at_once_is_one_item(ledger):
    """DynamoDB refuses a batch with the same key twice."""
    await asyncio.gather(*(ledger.finish(LOG, f"e{i}") for i in range(5)), ledger.finish(LogFile("logs", "b"), "e"))
    assert await ledger.is_finished(LogFile(LOG.bucket, LOG.key, etag="e4"))
    assert await ledger.is_finished(LogFile("logs", "b"))


async def test_observations_of_one_principal_are_one_write(ledger, proxy):
    await asyncio.gather(*(ledger.observe({"ana": Seen(float(i), float(i))}) for i in range(50)))
    assert proxy.calls == {"BatchGetItem": 1, "PutItem": 1}
    assert await ledger.principals() == {"ana": Seen(0.0, 49.0, 50)}


# Throttling


async def test_unprocessed_items_are_requested_again(ledger, proxy):
    proxy.room = 30
    files = [LogFile("logs", f"{i}") for i in range(90)]
    await asyncio.gather(*(ledger.finish(file, "e") for file in files[::2]))
    assert await ledger.unfinished(files) == files[1::2]
    assert proxy.calls["BatchGetItem"] == 3


async def test_items_that_are_never_processed_fail_alone(ledger, proxy):
    """Six tries of three items each write 18 of 25."""
    proxy.room = 3
    files = [LogFile("logs", f"{i}") for i in range(25)]
    outcomes = await asyncio.gather(*(ledger.finish(file, "e") for file in files), return_exceptions=True)
    failed = [file for file, outcome in zip(files, outcomes, strict=True) if outcome is not None]
    assert all("on demand" in str(outcome) for outcome in outcomes if outcome is not None)
    assert len(failed) == 7
    proxy.room = 100
    assert await ledger.unfinished(files) == failed


async def test_keys_that_are_never_processed_are_an_error_and_not_absent(ledger, proxy):
    """A part of the answer would be wrong, too."""
    proxy.room = 0
    with pytest.raises(LedgerError, match="on demand"):
        await ledger.watermarks([A])


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
)
async def test_a_call_that_stays_throttled_is_an_error_with_a_remedy(ledger, proxy, code):
    faults = iter([code])
    proxy.fault = lambda _: next(faults, None)
    assert not await ledger.is_finished(LOG)
    proxy.fault = lambda _: code
    with pytest.raises(LedgerError, match="on demand"):
        await ledger.is_finished(LOG)


async def test_permanent_conflicts_are_an_error_and_not_a_wrong_count(ledger, proxy):
    await ledger.observe({"ana": Seen(1.0, 1.0)})
    proxy.fault = lambda operation: "ConditionalCheckFailedException" if operation == "PutItem" else None
    with pytest.raises(LedgerError, match="other replicas"):
        await ledger.observe({"ana": Seen(2.0, 2.0)})
    assert await ledger.principals() == {"ana": Seen(1.0, 1.0)}


# A DynamoDB that is down


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ResourceNotFoundException", "ledger.table"),
        ("AccessDeniedException", "allow the role .*Scan"),
        ("UnrecognizedClientException", "credentials"),
        ("ValidationException", "string attribute pk"),
    ],
)
async def test_a_refused_table_stops_the_start_but_not_a_running_service(
    name, proxy, table_ledger, without_pauses, code, remedy
):
    """At the start, an operator is there to correct it."""
    async with table_ledger(name, endpoint=proxy.endpoint) as ledger:
        proxy.fault = lambda _: code
        errors = await errors_of(ledger)
        assert len(errors) == len(everything_names())
        for error in errors:
            assert isinstance(error, LedgerError)
            assert name in str(error)
    with pytest.raises(Refused, match=remedy):
        async with table_ledger(name, endpoint=proxy.endpoint):
            pass


def everything_names():
    return ["is_finished", "unfinished", "finish", "watermarks", "refreshed", "observe", "principals"]


async def test_a_missing_table_is_refused_with_a_remedy(table_ledger):
    with pytest.raises(Refused, match=r"no-such-table.*ledger\.table"):
        async with table_ledger("no-such-table"):
            pass


@pytest.mark.parametrize(("key", "sort_key"), [("id", None), ("id", "pk"), ("pk", "sk")])
async def test_a_table_with_another_key_is_refused_with_a_remedy(new_table, table_ledger, key, sort_key):
    """DynamoDB refuses the first read in the same way if the key is a number."""
    with pytest.raises(Refused, match=r"string attribute pk.*ledger\.yaml"):
        async with table_ledger(new_table(key, sort_key)):
            pass


async def test_a_replica_starts_while_dynamodb_is_down_and_uses_it_later(name, proxy, table_ledger, without_pauses):
    clock = Time()
    proxy.fault = lambda _: "InternalServerError"
    async with table_ledger(name, endpoint=proxy.endpoint, clock=clock) as ledger:
        assert all(isinstance(error, LedgerError) for error in await errors_of(ledger))
        proxy.fault = lambda _: None
        clock.time += PAUSE
        await ledger.finish(LOG, "e")
        assert await ledger.is_finished(LOG)


async def test_an_unreachable_dynamodb_is_a_ledger_error(name, table_ledger, without_pauses):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with table_ledger(name, endpoint=endpoint) as ledger:
        errors = await errors_of(ledger)
    assert len(errors) == len(everything_names())
    assert all(isinstance(error, LedgerError) for error in errors)


async def test_an_unanswered_call_is_given_up(name, proxy, table_ledger, without_pauses, monkeypatch):
    monkeypatch.setattr(table, "READ_TIMEOUT", 0.5)
    gone = asyncio.Event()

    async def never():
        await gone.wait()

    async with table_ledger(name, endpoint=proxy.endpoint) as ledger:
        proxy.fault = lambda _: never()
        with pytest.raises(LedgerError):
            await ledger.is_finished(LOG)
        assert proxy.calls["BatchGetItem"] == table.TRIES
        monkeypatch.setattr(table, "CALL_TIMEOUT", 0.15)
        with pytest.raises(LedgerError):
            await ledger.is_finished(LOG)
        assert proxy.calls["BatchGetItem"] <= table.TRIES + 2
    gone.set()


async def test_after_several_failures_in_a_row_calls_fail_at_once_for_a_while(ledger, proxy, clock):
    proxy.fault = lambda _: "InternalServerError"
    for _ in range(FAILURE_LIMIT):
        with pytest.raises(LedgerError):
            await ledger.is_finished(LOG)
    proxy.calls.clear()
    errors = await errors_of(ledger)
    assert not proxy.calls
    assert len(errors) == len(everything_names())
    for error in errors:
        assert "InternalServerError" in str(error)
        assert "next try in" in str(error)
    clock.time += PAUSE
    # One call tries for all.
    await asyncio.gather(*(ledger.is_finished(LOG) for _ in range(20)), return_exceptions=True)
    assert proxy.calls == {"BatchGetItem": table.TRIES}
    proxy.fault = lambda _: None
    clock.time += PAUSE
    assert not await ledger.is_finished(LOG)
    assert await errors_of(ledger) == []


async def test_single_failures_do_not_make_calls_fail_at_once(ledger, proxy):
    for _ in range(FAILURE_LIMIT * 2):
        proxy.fault = lambda _: "InternalServerError"
        with pytest.raises(LedgerError):
            await ledger.is_finished(LOG)
        proxy.fault = lambda _: None
        assert not await ledger.is_finished(LOG)


async def test_a_failed_condition_is_not_a_failure_of_the_table(ledger):
    for began in (9.0, *(float(each) for each in range(FAILURE_LIMIT * 2))):
        await ledger.refreshed(A, began)
    assert await ledger.watermarks([A]) == {A: 9.0}


@pytest.mark.parametrize(
    "foreign",
    [
        ClientError({"Error": {"Code": "Some", "Message": "words"}}, "GetItem"),
        ClientError({}, "GetItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb.example.com"),
        ResponseParserError("words"),
        aiohttp.ClientPayloadError("words"),
        ConnectionResetError(),
        socket.gaierror(),
        TimeoutError(),
    ],
    ids=lambda foreign: type(foreign).__name__,
)
def test_every_error_of_botocore_and_aiohttp_is_translated(foreign):
    with pytest.raises(LedgerError, match=r"table t: .+"), table._translated("t"):
        raise foreign


def test_a_message_of_dynamodb_is_cut():
    """For a wrong signature, AWS's message contains the signed text, which includes the session token."""
    words = "The Canonical String should have been " + "h" * 300 + "x-amz-security-token:CANARY"
    error = ClientError({"Error": {"Code": "InvalidSignatureException", "Message": words}}, "GetItem")
    with pytest.raises(LedgerError, match=r"Canonical String.* clock right\?$") as raised, table._translated("t"):
        raise error
    assert "CANARY" not in str(raised.value)


def test_a_failed_condition_is_distinguished_from_an_error():
    with pytest.raises(ConditionFailed), table._translated("t"):
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
    assert not issubclass(ConditionFailed, LedgerError)


async def test_a_look_up_of_thousands_makes_few_calls_at_a_time(name, proxy, table_ledger, without_pauses, monkeypatch):
    monkeypatch.setattr(table, "MAX_CALLS", 4)
    now, most = 0, 0

    async def counted():
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    async with table_ledger(name, endpoint=proxy.endpoint) as ledger:
        proxy.fault = lambda _: counted()
        await ledger.unfinished([LogFile("logs", f"{i}") for i in range(2000)])
    assert most == 4


def test_the_longest_name_of_s3_is_not_hashed(ledger):
    assert ledger._file(LogFile("b" * 63, "k" * 1024)) == f"f##{'b' * 63}/{'k' * 1024}"


async def test_replicas_with_different_settings_do_not_read_the_same_file_for_ever(table_ledger, name):
    """As during a deployment. Found: each replaced the other's mark, so each sweep of both read all files again."""
    async with (
        table_ledger(name, validity=Validity("old")) as one,
        table_ledger(name, validity=Validity("new")) as other,
    ):
        for replica in (one, other):
            assert not await replica.is_finished(LOG)
            await replica.finish(LOG, "e")
        assert await one.is_finished(LOG)
        assert await other.unfinished([LOG]) == []
