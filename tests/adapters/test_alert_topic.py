"""Alerts to a topic of SNS: in the sandbox's AWS, and against a stand-in that refuses."""

import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.flow.alert_targets import event

from jibe_sqs.adapters.alert_topic import MAX_BYTES, alert_topic
from jibe_sqs.adapters.aws import Account
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.telemetry.alert_groups import Groups, group_of, kind_of
from jibe_sqs.telemetry.alert_messages import Source, message_of
from jibe_sqs.telemetry.alert_outlet import AlertFailed

REGION = "ap-southeast-2"


def message(**fields):
    found = event("message_rejected", "error", error="LogMissing", **fields)
    return message_of(Groups({kind_of(found): group_of(found, 0.0)}), Source("pod-1"), 0.0)


def account(endpoint):
    return Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


class Topic:
    """A topic in another region than the default, with a queue that receives its messages."""

    def __init__(self, endpoint, name) -> None:
        self.endpoint = endpoint
        is_fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        self.sns, self.sqs = client(endpoint, "sns", REGION), client(endpoint, "sqs", REGION)
        self.arn = self.sns.create_topic(Name=name, Attributes=is_fifo)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if is_fifo else {})[
            "QueueUrl"
        ]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=arn)

    def received(self):
        found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"])
        return [(json.loads(each["Body"]), each["Attributes"]) for each in found.get("Messages", ())]


async def test_a_message_is_published_as_plain_text_with_a_subject_and_its_level(endpoint):
    topic, sent = Topic(endpoint, "alerts"), message(key="<b> ü")
    async with alert_topic(topic.arn, account(endpoint)) as target:
        await target.send(sent)
    ((found, _),) = topic.received()
    assert found["Subject"] == "jibe-sqs on pod-1: error message_rejected"
    assert found["Message"] == sent.text()
    assert "key=<b> ü" in found["Message"]
    assert found["MessageAttributes"] == {"level": {"Type": "String", "Value": "error"}}


async def test_a_message_is_published_as_an_object_for_programs(endpoint):
    topic, sent = Topic(endpoint, "alerts-json"), message()
    async with alert_topic(topic.arn, account(endpoint), "json") as target:
        await target.send(sent)
    ((found, _),) = topic.received()
    assert json.loads(found["Message"]) == sent.document()


async def test_a_message_to_a_fifo_topic_has_its_id_against_duplicates(endpoint):
    topic, sent = Topic(endpoint, "alerts.fifo"), message()
    async with alert_topic(topic.arn, account(endpoint)) as target:
        await target.send(sent)
    ((_, attributes),) = topic.received()
    assert attributes["MessageDeduplicationId"] == sent.id
    assert attributes["MessageGroupId"] == "jibe-sqs"


async def test_a_missing_topic_is_a_failure_with_a_remedy(endpoint):
    arn = f"arn:aws:sns:{REGION}:123456789012:missing"
    async with alert_topic(arn, account(endpoint)) as target:
        with pytest.raises(
            AlertFailed, match=rf"NotFound: topic {arn}: .*: there is no such topic: correct alerts.topic"
        ):
            await target.send(message())


@asynccontextmanager
async def stand_in(answer):
    """A server that answers each call with this, and keeps the forms of the calls."""
    forms = []

    async def call(request):
        forms.append(dict(await request.post()))
        return answer()

    app = web.Application(client_max_size=10 * MAX_BYTES)
    app.router.add_post("/", call)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", forms
    finally:
        await runner.cleanup()


def refused():
    body = "<ErrorResponse><Error><Code>AuthorizationError</Code><Message>not allowed</Message></Error></ErrorResponse>"
    return web.Response(status=403, text=body, content_type="text/xml")


async def test_a_refused_message_is_a_failure_that_names_the_permission():
    arn = f"arn:aws:sns:{REGION}:123456789012:alerts"
    async with stand_in(refused) as (endpoint, forms), alert_topic(arn, account(endpoint)) as target:
        with pytest.raises(AlertFailed, match=r"AuthorizationError: topic .*: not allowed: allow sns:Publish"):
            await target.send(message())
    (form,) = forms
    assert form["Action"] == "Publish"


async def test_an_unreachable_sns_is_a_failure(unused_tcp_port):
    async with alert_topic(
        f"arn:aws:sns:{REGION}:123456789012:alerts", account(f"http://127.0.0.1:{unused_tcp_port}")
    ) as target:
        with pytest.raises(AlertFailed, match="Could not connect"):
            await target.send(message())
