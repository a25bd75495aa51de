"""Alerts of the program: two replicas that share a ledger send one message when Access Anywhere goes down, and one when it is back."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from tests.acceptance.conftest import REGION
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

REPORT_INTERVAL = 10
"""Seconds. A busy machine takes some of them to gather the reports of both workers."""
DOWN = "circuit_opened"


class Receiver:
    """A webhook that keeps what is posted."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.url = ""

    def states(self, event: str) -> list[str]:
        """The state of each alert about this event."""
        return [each["state"] for message in self.messages for each in message["alerts"] if each["event"] == event]


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.messages.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """No lines on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


class Topic:
    """A topic of the sandbox, with a queue for its messages."""

    def __init__(self, sandbox: dict[str, Any]) -> None:
        self._sqs = aws_client(sandbox["environment"], "sqs", REGION)
        sns = aws_client(sandbox["environment"], "sns", REGION)
        self.arn = sns.create_topic(Name="alerts")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=arn)
        self.messages: list[dict[str, Any]] = []

    def states(self, event: str) -> list[str]:
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", ())
        for each in found:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
            self.messages.append(json.loads(json.loads(each["Body"])["Message"]))
        return [each["state"] for message in self.messages for each in message["alerts"] if each["event"] == event]


def test_two_replicas_send_one_alert_when_access_anywhere_goes_down_and_one_when_it_is_back(sandbox, small_service):
    topic = Topic(sandbox)
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    with receiver() as webhook:
        small_service.configure(
            alerts={"webhook": webhook.url, "topic": topic.arn, "format": "json", "interval": 3},
            control={"socket": "off"},
            sync={"min_refresh_interval": 0},
            limits={"messages_held": 10, "messages_reading": 10},
        )
        with small_service.started() as one, small_service.started() as other:
            for service in (one, other):
                service.wait_for("started")
            httpx.put(faults, json={"down": {}}, timeout=PATIENCE).raise_for_status()
            try:
                for number in range(60):
                    small_service.announce(f"alerts/{number}/a.txt")
                for service in (one, other):
                    service.wait_for(DOWN)
                eventually(lambda: webhook.states(DOWN), "the alert at the webhook")
                eventually(lambda: topic.states(DOWN), "the alert at the topic")
            finally:
                httpx.delete(faults, timeout=PATIENCE).raise_for_status()
            for service in (one, other):
                service.wait_for("circuit_closed")
            eventually(lambda: "resolved" in webhook.states(DOWN), lambda: f"the end: {webhook.messages}")
            eventually(lambda: "resolved" in topic.states(DOWN), lambda: f"the end: {topic.messages}")
            assert one.stop() == other.stop() == 0
    assert webhook.states(DOWN) == ["firing", "resolved"]
    assert topic.states(DOWN) == ["firing", "resolved"]
    assert len({message["id"] for message in webhook.messages}) == len(webhook.messages)
    for service in (one, other):
        assert "Traceback" not in service.output
        assert not service.events("alerts_not_sent")


def test_two_workers_send_one_alert_and_make_one_report(sandbox, small_service):
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    with receiver() as webhook:
        small_service.configure(
            workers=2,
            alerts={"webhook": webhook.url, "format": "json", "interval": 1},
            report={"interval": REPORT_INTERVAL},
            sync={"min_refresh_interval": 0},
            limits={"messages_held": 20, "messages_reading": 20},
        )
        with small_service.started() as service:
            for worker in (0, 1):
                service.wait_for("started", worker=worker)
            httpx.put(faults, json={"down": {}}, timeout=PATIENCE).raise_for_status()
            try:
                for number in range(60):
                    small_service.announce(f"alerts/{number}/a.txt")
                for worker in (0, 1):
                    service.wait_for(DOWN, worker=worker)
            finally:
                httpx.delete(faults, timeout=PATIENCE).raise_for_status()
            for worker in (0, 1):
                service.wait_for("circuit_closed", worker=worker)
            eventually(lambda: "resolved" in webhook.states(DOWN), lambda: f"the end: {webhook.messages}")
            (began,) = service.events("worker_began", worker=1)
            os.kill(began["pid"], signal.SIGKILL)
            eventually(lambda: "resolved" in webhook.states("worker_ended"), lambda: f"{webhook.messages}")
            # Fewer lines than intervals and workers: one for each interval.
            eventually(lambda: service.events("report", processes=2), "a report of both workers")
            # At the end there is one more, of a part of an interval.
            reports = service.events("report", processes=2)
            assert service.stop() == 0
    # On a busy machine, Access Anywhere may seem to go down a second time.
    outages = max(len(service.events(DOWN, worker=worker)) for worker in (0, 1))
    states = webhook.states(DOWN)
    assert states[-1] == "resolved", webhook.messages
    assert max(map(states.count, ("firing", "resolved"))) <= outages, (webhook.messages, service.output)
    ends = [datetime.fromisoformat(each["until"]).timestamp() for each in reports]
    periods = [round(end / REPORT_INTERVAL) for end in ends]
    assert len(periods) == len(set(periods))
    assert "Traceback" not in service.output
