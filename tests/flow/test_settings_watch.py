"""The watch looks for changes of the configuration. It takes no file that is being written, and tries again what is refused."""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest

from jibe_sqs.compose.reload import LIVE, NEED_RESTART, Change, Part, Reload, is_live, part_of
from jibe_sqs.compose.settings_watch import INTERVAL, SETTLE_TIME, SettingsWatch, given_by_supervisor
from jibe_sqs.compose.settings_watch import watched as watched_texts
from jibe_sqs.consuming.signals import ignore_other_signals
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Settings, Texts, load_from
from jibe_sqs.settings.changes import changed, in_force
from jibe_sqs.settings.effective import leaves

MINIMAL = {
    "access_anywhere": {"endpoint": "https://files.example.com", "login": "ana", "password": "CANARY"},
    "queues": [{"url": "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"}],
    "buckets": {"media": "/S3/media"},
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """The environment has no settings."""
    monkeypatch.delenv("JIBE_SECRETS_DIR", raising=False)


def texts(**changes) -> Texts:
    return Texts(source="config.json", file=json.dumps(MINIMAL | changes).encode())


def settings(**changes) -> Settings:
    return load_from(Settings, texts(**changes))


class Watched:
    """A reload with its watch. `content`: what the next readings return, the last of them again and again."""

    def __init__(self):
        self.content: list[Texts | Exception] = [texts()]
        self.readings: list[float] = []
        self.applied: list[tuple[Part, Settings]] = []
        self.accepted: list[Texts] = []
        apply = {part: lambda found, part=part: self.applied.append((part, found)) for part in Part}
        self.reload = Reload(settings(), apply, accept=self.accepted.append, load=self.load)
        self.watch = SettingsWatch(self.read, self.reload, known=texts())

    async def read(self):
        self.readings.append(asyncio.get_running_loop().time())
        found = self.content.pop(0) if len(self.content) > 1 else self.content[0]
        if isinstance(found, Exception):
            raise found
        return found

    @staticmethod
    async def load(found, known):
        return Change.of(known, load_from(Settings, found))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.watch.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def watched(flow):
    return Watched()


def named(events, name):
    return [each for each in events if each["event"] == name]


# The watch


async def test_nothing_happens_while_the_content_stays(watched, events):
    async with watched.running():
        await asyncio.sleep(10 * INTERVAL + 1)
    assert watched.readings == [INTERVAL * number for number in range(1, 11)]
    assert (events, watched.accepted) == ([], [])


async def test_a_changed_content_is_taken_once_when_two_readings_agree(watched, events):
    new = texts(ignore_keys=["tmp/*"])
    async with watched.running():
        watched.content = [new]
        await asyncio.sleep(5 * INTERVAL)
    assert watched.readings[:2] == [INTERVAL, INTERVAL + SETTLE_TIME]
    assert watched.accepted == [new]
    assert [each["changed"] for each in named(events, "settings_reloaded")] == [["ignore_keys"]]


async def test_a_file_that_is_being_written_is_taken_when_it_is_complete(watched, events):
    """Each reading finds more of it. Its first parts are no JSON, and cause no alert."""
    new = texts(ignore_keys=["tmp/*"])
    parts = [Texts(source="config.json", file=new.file[:size]) for size in (0, 10, 40)]
    async with watched.running():
        watched.content = [SettingsError(["config.json: cannot be read"]), *parts, new]
        await asyncio.sleep(2 * INTERVAL)
    assert watched.accepted == [new]
    assert not named(events, "settings_refused")


async def test_a_file_that_goes_on_changing_waits_for_the_next_look(watched, events):
    async with watched.running():
        watched.content = [texts(drain_timeout=100 + number) for number in range(15)]
        await asyncio.sleep(INTERVAL + 30)
        assert not watched.accepted
        await asyncio.sleep(INTERVAL)
    assert watched.accepted == [texts(drain_timeout=114)]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (texts(buckets=7), "buckets: must be an object"),
        (Texts(source="config.json", file=b"{"), "config.json: not JSON"),
        (SettingsError(["config.json: cannot be read: No such file"]), "config.json: cannot be read"),
    ],
)
async def test_a_wrong_content_is_refused_once_and_shown_until_it_is_right(watched, events, wrong, reason):
    async with watched.running():
        watched.content = [wrong]
        await asyncio.sleep(10 * INTERVAL)
        (refused,) = named(events, "settings_refused")
        assert refused["log_level"] == "error"
        assert refused["reasons"][0].startswith(reason)
        assert reason in watched.reload.problem
        assert not watched.applied
        watched.content = [texts()]
        await asyncio.sleep(2 * INTERVAL)
    assert watched.reload.problem == ""
    assert [each["changed"] for each in named(events, "settings_reloaded")] == [[]]


async def test_a_question_is_answered_at_once_also_if_nothing_has_changed(watched, events):
    """The operator waits for the answer. So a refusal is repeated, too."""
    async with watched.running():
        await asyncio.sleep(5)
        watched.watch.ask()
        await asyncio.sleep(0.1)
        assert len(named(events, "settings_reloaded")) == 1
        watched.content = [texts(buckets=7)]
        for _ in range(2):
            watched.watch.ask()
            await asyncio.sleep(0.1)
    assert len(named(events, "settings_refused")) == 2


async def test_a_defect_does_not_stop_later_looks(watched, events):
    async with watched.running():
        watched.content = [ValueError("a defect")]
        await asyncio.sleep(2 * INTERVAL)
        watched.content = [texts(ignore_keys=["tmp/*"])]
        await asyncio.sleep(2 * INTERVAL)
    assert named(events, "reload_crashed")
    assert len(watched.accepted) == 1


async def test_what_was_refused_is_tried_again_although_its_content_stays(watched, events):
    """A secret that it refers to may be there a minute later."""
    failures = [SettingsError(["access_anywhere.password: cannot be read"])] * 3

    async def load(found, known):
        if failures:
            raise failures.pop()
        return Change.of(known, load_from(Settings, found))

    watched.reload._load = load
    async with watched.running():
        watched.content = [texts(ignore_keys=["tmp/*"])]
        await asyncio.sleep(6 * INTERVAL)
    assert len(named(events, "settings_refused")) == 1
    assert len(named(events, "settings_reloaded")) == 1


async def test_a_pipe_is_not_read_again_and_a_signal_gets_its_answer(watched, events, tmp_path):
    """The settings in force are right, so nothing is refused."""
    os.mkfifo(tmp_path / "pipe")
    first = Texts(source=str(tmp_path / "pipe"), file=texts().file)
    async with AsyncExitStack() as stack, watched_texts(first, watched.reload, stack):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(2 * INTERVAL)
    assert "a pipe" in named(events, "settings_need_restart")[0]["consequence"]
    assert watched.reload.problem == ""


async def test_a_signal_to_a_worker_changes_nothing(watched, events):
    """It has no configuration file: without what the supervisor gives, its settings would be those of the environment."""
    taken = []
    worker = SimpleNamespace(take_settings=taken.append)
    ignore_other_signals()
    async with given_by_supervisor(worker, watched.reload):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(2 * INTERVAL)
        assert named(events, "signal_ignored")[0]["signal"] == "SIGHUP"
        assert (watched.applied, watched.reload.problem) == ([], "")
        taken[0](texts(buckets={"other": "/S3/other"}))
        await asyncio.sleep(1)
        assert [part for part, _ in watched.applied] == [Part.RULES]


# What changes, and how


def test_each_setting_is_live_or_needs_a_restart():
    """A new setting must be in one of the two tables: think about it, and test it."""
    every = {".".join(path) for path, _ in leaves(settings(buckets=None, queues=MINIMAL["queues"]))}
    wrong = []
    for name in every:
        parts = name.split(".")
        above = {".".join(parts[: length + 1]) for length in range(len(parts))}
        if len(above & LIVE.keys()) + len(above & NEED_RESTART) != 1:
            wrong.append(name)
    assert wrong == []
    assert all(name.split(".")[0] in Settings.model_fields for name in {*LIVE, *NEED_RESTART})


def test_the_parts_of_an_object_and_the_entries_of_a_list_are_named():
    old = settings(buckets={"a": "/S3/a", "b": "/S3/b"}, ignore_keys=["x"])
    new = settings(buckets={"b": "/S3/c", "d": "/S3/d"}, queues=MINIMAL["queues"] * 2)
    assert changed(old, new) == ["buckets.a", "buckets.b", "buckets.d", "ignore_keys", "queues.1"]
    assert changed(settings(buckets={"a": "/S3/a"}), settings(buckets=None)) == ["buckets.a"]
    assert (part_of("buckets.a"), part_of("queues.1")) == (Part.RULES, None)


def test_what_needs_a_restart_keeps_its_value_within_a_group_too():
    old = settings(report={"interval": 60}, access_anywhere=MINIMAL["access_anywhere"] | {"timeout": 5})
    new = settings(
        report={"interval": 90, "folder": "/reports"},
        access_anywhere=MINIMAL["access_anywhere"] | {"timeout": 6, "concurrency": 3},
        drain_timeout=200,
    )
    found = in_force(old, new, is_live)
    assert (found.report.interval, found.report.folder) == (90, None)
    assert (found.access_anywhere.timeout, found.access_anywhere.concurrency) == (5, 3)
    assert found.drain_timeout == old.drain_timeout


async def test_each_part_is_applied_once_with_the_settings_in_force(watched, events):
    await watched.reload.take(texts(ignore_keys=["a"], own_writes={"principals": ["b"]}, log={"level": "error"}))
    assert [part for part, _ in watched.applied] == [Part.LOG, Part.RULES]
    assert all(found.own_writes.principals == ("b",) for _, found in watched.applied)
    assert changed(watched.reload.settings, settings(ignore_keys=["a"], own_writes={"principals": ["b"]})) == [
        "log.level"
    ]


async def test_a_secret_is_named_and_not_logged(watched, events):
    await watched.reload.take(
        texts(
            access_anywhere=MINIMAL["access_anywhere"] | {"password": "NEW-CANARY"},
            aws={"access_key_id": "a", "secret_access_key": "CANARY"},
        )
    )
    assert named(events, "settings_reloaded")[0]["changed"] == ["access_anywhere.password"]
    assert named(events, "settings_need_restart")[0]["settings"] == ["aws.access_key_id", "aws.secret_access_key"]
    assert "CANARY" not in str(events)
    assert "need a restart: aws.access_key_id" in watched.reload.problem


async def test_values_that_do_not_go_together_with_those_of_a_restart_wait_for_it(watched, events):
    """Log files are read through a folder, which the new `buckets` show and the old `logs` do not need."""
    logs = [{"bucket": "trail", "via": "access-anywhere", "sweep": "3m"}]
    old = load_from(Settings, texts(buckets={"trail": "/S3/trail"}, logs=logs))
    reload = Reload(old, {}, load=watched.load)
    await reload.take(texts(log={"level": "error"}))
    assert named(events, "settings_reloaded")[0]["changed"] == []
    assert "log.level" in named(events, "settings_need_restart")[0]["settings"]
    assert reload.settings is old


async def test_a_target_that_cannot_be_used_is_a_refusal_and_nothing_changes(watched, events):
    """Alerts come first, because only they may refuse."""

    def refuse(_):
        raise SettingsError(["alerts.webhook: not an address"])

    watched.reload._apply = {**watched.reload._apply, Part.ALERTS: refuse}
    await watched.reload.take(texts(alerts={"webhook": "https://hooks.example.com/x"}, log={"level": "error"}))
    assert named(events, "settings_refused")
    assert not watched.applied
    assert not watched.accepted
