"""The targets of a service's alerts over sockets: they change at run time, and supervisors of several hosts share a table."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from tests.flow.alert_targets import event
from tests.processes import PATIENCE

from jibe_sqs.compose.alerting import ServiceAlerts, shared_by_hosts
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY
from jibe_sqs.settings import Settings
from jibe_sqs.telemetry import alert_outlet

REGION = "eu-west-1"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Messages are sent without delay."""
    monkeypatch.setattr(alert_outlet, "GATHER_TIME", 0.01)
    monkeypatch.setattr(alert_outlet, "BUSY_DELAY", 0.05)


@asynccontextmanager
async def receiver():
    """A webhook: its address, and the bodies that were posted."""
    bodies = []

    async def post(request):
        bodies.append(await request.json())
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/hook", post)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", bodies
    finally:
        await runner.cleanup()


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def settings(alerts, **more):
    return Settings(
        access_anywhere={"endpoint": "https://files.example.com", "login": "login", "password": "password"},
        alerts={"format": "json", "interval": 1, **alerts},
        **more,
    )


def names(bodies):
    return [alert["event"] for body in bodies for alert in body["alerts"]]


async def test_targets_change_at_run_time_and_a_wrong_address_changes_nothing():
    async with receiver() as (one, first), receiver() as (other, second):
        async with ServiceAlerts.running(settings({})) as sender:
            assert not sender.are_sent
            await sender.reconfigure(settings({"webhook": one}))
            sender.alerts.take(event("a"))
            await until(lambda: names(first) == ["a"])
            await sender.reconfigure(settings({"webhook": other, "level": "error"}))
            sender.alerts.take(event("b"))
            sender.alerts.take(event("c", "error"))
            await until(lambda: names(second) == ["c"])
            wrong = settings({"webhook": other})
            wrong = wrong.model_copy(
                update={"alerts": wrong.alerts.model_copy(update={"webhook": type(wrong.alerts.webhook)("ftp://x")})}
            )
            with pytest.raises(SettingsError):
                await sender.reconfigure(wrong)
            sender.alerts.take(event("d", "error"))
            await until(lambda: names(second) == ["c", "d"])
            await sender.reconfigure(settings({}))
            sender.alerts.take(event("e", "error"))
        assert (names(first), names(second)) == (["a"], ["c", "d"])


async def test_supervisors_of_two_hosts_share_the_alerts_in_a_table(endpoint, new_table):
    keys = {"endpoint": endpoint, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": REGION}
    ledger = {"kind": "dynamodb", "table": new_table()}
    async with receiver() as (url, bodies), AsyncExitStack() as stack:
        wanted = settings({"webhook": url}, aws=keys, ledger=ledger)
        senders = [await stack.enter_async_context(ServiceAlerts.running(wanted)) for _ in range(2)]
        for sender in senders:
            await shared_by_hosts(sender, wanted, stack)
        for sender in senders:
            sender.alerts.take(event("circuit_opened"))
        await until(lambda: all(not each.alerts._outlets["webhook"]._waiting for each in senders))
        assert names(bodies) == ["circuit_opened"]
        for sender in senders:
            sender.alerts.take(event("circuit_closed", "info"))
        await until(lambda: len(names(bodies)) == 2)
        await until(lambda: all(not each.alerts._outlets["webhook"]._waiting for each in senders))
    assert [alert["state"] for body in bodies for alert in body["alerts"]] == ["firing", "resolved"]


async def test_a_supervisor_whose_table_is_missing_sends_by_itself(endpoint):
    keys = {"endpoint": endpoint, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": REGION}
    async with receiver() as (url, bodies), AsyncExitStack() as stack:
        wanted = settings({"webhook": url}, aws=keys, ledger={"kind": "dynamodb", "table": "missing"})
        sender = await stack.enter_async_context(ServiceAlerts.running(wanted))
        await shared_by_hosts(sender, wanted, stack)
        sender.alerts.take(event("circuit_opened"))
        await until(lambda: names(bodies) == ["circuit_opened"])
