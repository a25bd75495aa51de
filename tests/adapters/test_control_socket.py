"""The control socket: what its two ends exchange, who may use it, and what stands in its way."""

import asyncio
import os
import socket
import stat
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import uvloop

from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.control import RunningService, running_service
from jibe_sqs.adapters.control_messages import (
    MAX_FOLDERS,
    BucketPlaces,
    PauseAnswer,
    PauseRequest,
    PauseState,
    QueueState,
    ResumeRequest,
    ServiceStatus,
    ShownAt,
)
from jibe_sqs.adapters.control_server import MAX_BODY
from jibe_sqs.adapters.control_socket import Controls, control_socket
from jibe_sqs.core.errors import CallFailed, ControlError
from jibe_sqs.core.model import Folder
from jibe_sqs.syncing.operator_refreshes import Ended, Progress
from jibe_sqs.syncing.outcomes import Outcomes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.status import Status
from jibe_sqs.testing import InMemoryLedger, InMemorySyncTarget

A, B = Folder("/Amazon S3/média/a"), Folder("/Amazon S3/média/b")
MANY = msgspec.json.encode({"folders": [{"path": "/a"}] * (MAX_FOLDERS + 1)})
LARGE = b'{"folders": [{"path": "/' + b"a" * MAX_BODY + b'"}]}'
STATUS = ServiceStatus("1.2", 5.0, 7, ready=True, gates=[], outages=[], queues=[QueueState("jibe")], unmapped=["other"])

SNAPSHOT = Status(at=5.0, version="1.2", sentence="In sync; 4 s behind", state="in-sync", totals={"done": 7})


class World:
    def __init__(self):
        self.clock, self.ledger, self.target = S3Clock(), InMemoryLedger(), InMemorySyncTarget()
        self.outcomes = Outcomes(lambda: 1000.0)
        self.refreshes = Refreshes(
            target=self.target, ledger=OptionalLedger(self.ledger), clock=self.clock, observe=self.outcomes.observe
        )

    async def pause(self, request):
        state = PauseState(request.provider, 0.0, request.seconds, request.reason, "paused")
        self.pauses = [state]
        return PauseAnswer(self.pauses)

    async def resume(self, request):
        ended, self.pauses = self.pauses, []
        return PauseAnswer([], [], [each for each in ended if request.provider in (None, each.provider)])

    @property
    def controls(self):
        return Controls(
            refreshes=self.refreshes,
            outcomes=self.outcomes,
            ledger=OptionalLedger(self.ledger),
            clock=self.clock,
            places=lambda bucket: BucketPlaces([ShownAt("/Amazon S3/média", "x/")] if bucket == "média" else []),
            status=lambda: STATUS,
            snapshot=lambda: SNAPSHOT,
            pause=self.pause,
            resume=self.resume,
        )


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Relative, because the path of a temporary directory may be too long for a socket."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.relative_to(tmp_path) / "jibe-sqs.sock"


@asynccontextmanager
async def connected(path, world):
    async with control_socket(path, world.controls), running_service(path) as service:
        assert service is not None
        yield service
        await world.refreshes.stop()


async def ends(service, *folders):
    async with aclosing(service.refresh(folders)) as steps:
        return [step async for step in steps if isinstance(step, Ended)]


async def test_the_service_answers_what_it_knows(path):
    world = World()
    await world.ledger.refreshed(A, 123.5)
    async with connected(path, world) as service:
        assert await service.status() == STATUS
        assert await service.snapshot() == SNAPSHOT
        assert (await service.places("média")).places == [ShownAt("/Amazon S3/média", "x/")]
        assert (await service.places("other")).places == []
        state = await service.folder(A)
    assert (state.folder, state.watermark, state.pending, state.last_error) == (A, 123.5, None, None)


async def test_pauses_are_asked_for_and_answered(path):
    world = World()
    state = PauseState("média", 0.0, 60.0, "maintenance", "paused")
    async with connected(path, world) as service:
        assert await service.pause(PauseRequest(60.0, "média", "maintenance")) == PauseAnswer([state])
        assert await service.resume(ResumeRequest("média")) == PauseAnswer([], [], [state])


@pytest.mark.parametrize("seconds", [0, -1, 8 * 86_400, "1h"])
async def test_a_pause_that_is_not_possible_is_a_mistake(path, seconds):
    async with connected(path, World()) as service:
        with pytest.raises(ControlError, match="answered 400"):
            await service.pause(PauseRequest(seconds))


async def test_a_refresh_reports_the_end_of_each_folder_and_the_service_remembers_the_error(path):
    world = World()
    world.target.always[B.path] = CallFailed("storage said no", code="storage_error")
    async with connected(path, world) as service:
        found = await ends(service, A, B)
        assert sorted(found, key=lambda each: each.folder) == [Ended(A), Ended(B, "CallFailed", "storage said no")]
        error = (await service.folder(B)).last_error
        assert (error.error, error.reason, error.at) == ("CallFailed", "storage said no", 1000.0)
        world.target.always.clear()
        assert await ends(service, B) == [Ended(B)]
        assert (await service.folder(B)).last_error is None


async def test_a_folder_shows_since_when_and_why_its_refresh_is_pending_also_as_part_of_a_tree(path):
    world = World()
    tree = Folder("/Amazon S3/média", tree=True)
    world.target.held = {tree.path}
    async with connected(path, world) as service, aclosing(service.refresh([tree])) as steps:
        assert await anext(steps) == Progress(0, 1)
        state = await service.folder(A)
        assert state.pending.reason == "operator"
        assert state.pending.waited >= 0
        assert (await service.folder(Folder("/Amazon S3/médiathèque"))).pending is None
        world.target.release()
        assert [step async for step in steps][-1] == Ended(tree)


async def test_the_refresh_goes_on_if_the_command_that_asked_is_interrupted(path):
    world = World()
    world.target.held = {A.path}
    async with connected(path, world) as service:
        async with aclosing(service.refresh([A])) as steps:
            await anext(steps)
        future = world.refreshes.ask(A)
        world.target.release()
        await future
    assert all(run.error is None for run in world.target.runs)


@pytest.mark.parametrize("told", [b"", msgspec.json.encode(Ended(A)) + b"\n"])
async def test_an_answer_that_ends_before_all_refreshes_is_an_error(told):
    """Otherwise the command would say that nothing failed."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=told))
    async with httpx.AsyncClient(transport=transport, base_url="http://jibe-sqs") as http:
        with pytest.raises(ControlError, match="ask again"):
            await ends(RunningService(http), A, B)


async def test_a_stopped_service_says_that_the_refresh_has_not_ended(path):
    world = World()
    world.target.held = {A.path}
    async with connected(path, world) as service, aclosing(service.refresh([A])) as steps:
        await anext(steps)
        await world.refreshes.stop()
        (ended,) = [step async for step in steps if isinstance(step, Ended)]
    assert ended.error == "Stopped"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"folders": []}',
        b'{"folders": [{"path": "a"}]}',
        b'{"folders": [{"path": 1}]}',
        b"\xff",
        MANY,
        LARGE,
    ],
    ids=["nothing", "cut", "no folders", "no path", "no text", "no UTF-8", "too many", "too large"],
)
async def test_a_bad_request_is_refused_and_refreshes_nothing(path, body):
    world = World()
    async with connected(path, world):
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://jibe-sqs") as http:
            answers = [await http.post("/refresh", content=body), await http.get("/folder", params={"path": "a"})]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert not world.target.runs


async def test_a_refused_request_becomes_an_error_with_the_reason(path):
    async with connected(path, World()) as service:
        with pytest.raises(ControlError, match="not a path of a folder"):
            await ends(service, Folder("a"))


async def test_only_the_services_own_user_can_use_the_socket_and_it_is_gone_after_the_end(path):
    async with control_socket(path, World().controls):
        mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


async def test_the_socket_of_a_killed_process_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(path))
    async with connected(path, World()) as service:
        assert await service.status() == STATUS
        assert await service.snapshot() == SNAPSHOT


async def test_a_second_service_does_not_take_the_socket_of_a_running_one(path):
    async with connected(path, World()) as service:
        with pytest.raises(OSError, match="another service listens there"):
            async with control_socket(path, World().controls):
                pass
        assert await service.status() == STATUS
        assert await service.snapshot() == SNAPSHOT


async def test_a_file_of_another_kind_stays(path):
    path.write_text("notes")
    with pytest.raises(OSError, match="not a socket"):
        async with control_socket(path, World().controls):
            pass
    assert path.read_text() == "notes"


async def test_a_service_does_not_remove_the_socket_that_has_replaced_its_own(path):
    async with control_socket(path, World().controls):
        path.unlink()
        path.touch()
    assert path.exists()


@pytest.mark.parametrize("missing", ["too-long" * 20, "no-such-directory/jibe-sqs.sock"])
@pytest.mark.usefixtures("path")
async def test_a_path_that_cannot_be_used_is_an_error_of_the_system(missing):
    with pytest.raises(OSError):
        async with control_socket(Path(missing), World().controls):
            pass


@pytest.mark.parametrize("there", [False, True])
async def test_without_a_service_there_is_none(path, there):
    if there:
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(os.fspath(path))
    async with running_service(path) as service:
        assert service is None
    async with running_service(None) as service:
        assert service is None


def test_the_socket_works_with_the_event_loop_of_the_service(path):
    """The service uses uvloop, where a socket that is no TCP socket goes another way."""

    async def asked():
        world = World()
        async with connected(path, world) as service:
            return await service.status(), await ends(service, A)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asked()) == (STATUS, [Ended(A)])
