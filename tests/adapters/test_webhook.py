"""The webhook over a socket: what it posts, its errors, and that its address is kept secret."""

import asyncio
import logging
import socket
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from jibe_sqs.adapters import webhook as adapter
from jibe_sqs.adapters.webhook import webhook
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.alert_groups import Group, Groups, Kind
from jibe_sqs.telemetry.alert_messages import Source, message_of
from jibe_sqs.telemetry.alert_outlet import AlertFailed
from jibe_sqs.telemetry.alerts import Alerts

SECRET = "T00000000-SECRET-CANARY"
KIND = Kind("error", "message_rejected", "LogMissing")
MESSAGE = message_of(Groups({KIND: Group(2, 0.0, 60.0, "key=<b> ü")}), Source("pod-1", "https://example.com/r"), 0.0)
OTHER_MESSAGE = message_of(Groups({KIND: Group(1, 0.0, 90.0, "key=c")}), Source("pod-1"), 0.0)


class Slack:
    """A webhook server with a secret address, which fails on demand."""

    def __init__(self) -> None:
        self.bodies: list[object] = []
        self.keys: list[str] = []
        self.elsewhere = 0
        self.answers: list[Response] = []
        self.origin = ""

    async def hook(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        self.keys.append(request.headers["Idempotency-Key"])
        if self.answers:
            return self.answers.pop(0)
        return PlainTextResponse("ok")

    async def other(self, _: Request) -> Response:
        self.elsewhere += 1
        return PlainTextResponse("ok")

    @property
    def url(self) -> str:
        return f"{self.origin}/services/{SECRET}"


@pytest.fixture
async def slack():
    app = Slack()
    routes = [
        Route(f"/services/{SECRET}", app.hook, methods=["POST"]),
        Route("/elsewhere", app.other, methods=["GET", "POST"]),
    ]
    config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listener]))
        yield app
        server.should_exit = True
        await task


@asynccontextmanager
async def failing(hook):
    with pytest.raises(AlertFailed) as failed:
        await hook.send(MESSAGE)
    yield failed.value


async def test_a_message_is_posted_as_slacks_json(slack):
    async with webhook(slack.url) as hook:
        await hook.send(MESSAGE)
    (body,) = slack.bodies
    assert body == {
        "text": "jibe-sqs on pod-1: 2 errors\n"
        "\N{BULLET} error message_rejected (LogMissing): 2 times, the last at 00:01:00 UTC\n    key=&lt;b&gt; ü"
    }


async def test_a_message_is_posted_as_an_object_for_programs(slack):
    async with webhook(slack.url, "json") as hook:
        await hook.send(MESSAGE)
    (body,) = slack.bodies
    assert body == MESSAGE.document()
    assert body["alerts"][0]["text"] == "key=<b> ü"
    assert body["alerts"][0]["runbook"] == "https://example.com/r#message_rejected"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, "no_service", "answered 404 no_service: check the address"),
        (403, "action_prohibited", "answered 403 action_prohibited: check the address"),
        (410, "channel_is_archived", "answered 410 channel_is_archived: check the address"),
        (400, "invalid_payload", "answered 400 invalid_payload"),
        (500, f"<html>no route to {SECRET}</html>", "answered 500"),
        (502, "", "answered 502"),
    ],
)
async def test_an_error_answer_is_a_failure_with_slacks_error_code(slack, status, body, said):
    slack.answers = [PlainTextResponse(body, status_code=status)]
    async with webhook(slack.url) as hook, failing(hook) as failure:
        assert str(failure) == f"the webhook in `alerts.webhook` {said}"
        assert failure.retry_after is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("30", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
async def test_retry_after_in_seconds_is_returned(slack, header, expected):
    slack.answers = [PlainTextResponse("rate_limited", status_code=429, headers={"Retry-After": header})]
    async with webhook(slack.url) as hook, failing(hook) as failure:
        assert failure.retry_after == (None if expected is None else pytest.approx(expected, abs=60))


async def test_retry_after_as_a_date_is_returned(slack):
    header = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    slack.answers = [PlainTextResponse("rate_limited", status_code=429, headers={"Retry-After": header})]
    async with webhook(slack.url) as hook, failing(hook) as failure:
        assert failure.retry_after == pytest.approx(3600, abs=60)


async def test_a_redirect_is_not_followed(slack):
    slack.answers = [RedirectResponse(f"{slack.origin}/elsewhere", status_code=307)]
    async with webhook(slack.url) as hook, failing(hook) as failure:
        assert str(failure).endswith("answered 307")
    assert slack.elsewhere == 0


async def test_an_unreachable_webhook_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with webhook(f"http://127.0.0.1:{port}/{SECRET}") as hook, failing(hook) as failure:
        assert str(failure) == "the webhook in `alerts.webhook` cannot be reached: ConnectError"


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com/x", "ftp://hooks.example.com", "https://", f"https://hooks.example.com:{SECRET}"]
)
async def test_an_invalid_address_is_a_settings_error(url):
    with pytest.raises(SettingsError, match=r"alerts.webhook: must begin with https") as mistake:
        async with webhook(url):
            pass
    assert SECRET not in str(mistake.value)


async def test_the_address_is_in_no_error_log_or_representation(slack, caplog):
    """Not in a failure and its traceback, not in the log at any level, and not in its representation."""
    caplog.set_level(logging.DEBUG)
    async with webhook(slack.url) as hook:
        await hook.send(MESSAGE)
        slack.answers = [PlainTextResponse("no", status_code=500)]
        async with failing(hook) as failure:
            text = "".join(traceback.format_exception(failure))
        async with httpx.AsyncClient() as other:
            await other.get(f"{slack.origin}/elsewhere")
    async with webhook(f"http://127.0.0.1:1/{SECRET}") as nowhere, failing(nowhere) as unreachable:
        text += "".join(traceback.format_exception(unreachable))
        assert unreachable.__context__ is None
    assert SECRET not in text + repr(hook) + str(hook) + repr(failure)
    # The server of this test knows its address and logs it.
    logged = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn"))
    assert SECRET not in logged
    assert "/elsewhere" in logged
    assert logging.getLogger("httpx").filters == []


async def test_an_alert_arrives_after_a_failed_first_try_with_the_same_text_and_key(slack, monkeypatch):
    monkeypatch.setattr("jibe_sqs.telemetry.alert_outlet.GATHER_TIME", 0.01)
    monkeypatch.setattr("jibe_sqs.telemetry.alert_outlet.FIRST_RETRY_DELAY", 0.01)
    slack.answers = [PlainTextResponse("rollup_error", status_code=500)]
    async with webhook(slack.url) as hook:
        alerts = Alerts([hook], source=Source("pod-1"))
        async with alerts.running():
            alerts.take({"event": "refresh_failed", "level": "warning", "error": "CallFailed", "folder": "/a"})
            async with asyncio.timeout(60):
                while len(slack.bodies) < 2 or alerts._outlets["webhook"]._waiting:
                    await asyncio.sleep(0.01)
    first, second = slack.bodies
    assert first == second
    assert "warning refresh_failed (CallFailed): once" in first["text"]
    assert len(set(slack.keys)) == 1


async def test_only_the_beginning_of_an_answer_is_read(slack):
    sent = []

    async def long():
        for _ in range(2000):
            sent.append(1)
            yield b"x" * 65_536
            await asyncio.sleep(0)

    slack.answers = [StreamingResponse(long(), status_code=500)]
    async with webhook(slack.url) as hook, failing(hook) as error:
        assert str(error) == "the webhook in `alerts.webhook` answered 500"
        assert len(sent) < 2000


async def test_a_slow_answer_is_given_up(slack, monkeypatch):
    monkeypatch.setattr(adapter, "POST_TIMEOUT", 0.1)

    async def trickle():
        for _ in range(10):
            yield b"x"
            await asyncio.sleep(0.05)

    slack.answers = [StreamingResponse(trickle(), status_code=500)]
    async with webhook(slack.url) as hook, failing(hook) as error:
        assert "TimeoutError" in str(error)


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}])
async def test_a_message_has_arrived_whatever_the_body_of_a_good_answer_is(slack, headers, monkeypatch):
    """Else it would be sent again and again."""
    monkeypatch.setattr(adapter, "POST_TIMEOUT", 5.0)

    async def hanging():
        yield b"not compressed"
        await asyncio.Event().wait()

    slack.answers = [StreamingResponse(hanging(), headers=headers)]
    async with webhook(slack.url) as hook:
        await hook.send(MESSAGE)
    assert len(slack.bodies) == 1


async def test_an_address_that_is_refused_is_read_again_and_the_message_is_posted_to_the_new_one(slack):
    """Slack answers 404 or 410 for an address that was replaced."""

    async def renewed():
        return slack.url

    async with webhook(f"{slack.origin}/services/replaced", renew=renewed) as hook:
        await hook.send(MESSAGE)
        await hook.send(OTHER_MESSAGE)
    assert [body["text"] for body in slack.bodies] == [each.text(markup=True) for each in (MESSAGE, OTHER_MESSAGE)]
    assert slack.keys == [MESSAGE.id, OTHER_MESSAGE.id]


async def test_an_address_that_has_not_changed_is_not_posted_to_twice(slack):
    """The refusal is final, and each try would cost the receiver."""
    slack.answers = [PlainTextResponse("no_service", 404)]

    async def renewed():
        return slack.url

    async with webhook(slack.url, renew=renewed) as hook, failing(hook):
        pass
    assert len(slack.bodies) == 1
