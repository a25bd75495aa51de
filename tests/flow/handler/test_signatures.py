"""SNS signatures are checked before a message is read."""

import json

from jibe_sqs.core.errors import (
    AnnouncementForged,
    SignatureUnavailable,
)
from jibe_sqs.core.model import Done, Message, Reject, Retry


class FakeSignatures:
    """The `Signatures` port. It raises `error`, if there is one, for each body."""

    def __init__(self, error=None):
        self.error = error
        self.checked = []

    async def check(self, body):
        self.checked.append(body)
        if self.error:
            raise self.error


async def test_a_message_that_sns_did_not_sign_is_rejected_before_it_is_read(flow):
    world = flow.World(signatures=FakeSignatures(AnnouncementForged("not SNS's")))
    verdict = await world.handle(flow.announcing(world.put("a")))
    assert isinstance(verdict, Reject)
    assert (verdict.error, verdict.source) == ("AnnouncementForged", "message")
    assert not world.logs.opens


async def test_a_message_waits_while_its_signature_cannot_be_checked(flow):
    world = flow.World(signatures=FakeSignatures(SignatureUnavailable("no certificate")))
    verdict = await world.handle(flow.announcing(world.put("a")))
    assert isinstance(verdict, Retry)
    assert "SignatureUnavailable" in verdict.reason
    assert not world.logs.opens


async def test_a_message_that_sns_signed_is_done(flow):
    signatures = FakeSignatures()
    world = flow.World(signatures=signatures)
    body = flow.announcing(world.put("a"))
    assert await world.handle(body) == Done()
    assert signatures.checked == [body.encode()]


async def test_a_swept_file_needs_no_signature(flow):
    world = flow.World(signatures=FakeSignatures(AnnouncementForged("not SNS's")))
    body = json.dumps({"swept": {"bucket": flow.LOG_BUCKET, "key": world.put("a")}})
    message = Message("id", "receipt", body.encode(), ours=True)
    assert await world.handler.handle(message, world.policy, flow.WatchedInHand()) == Done()
