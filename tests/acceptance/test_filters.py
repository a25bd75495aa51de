"""A running service ignores what is of no interest, and warns of changes that only its configuration skips."""

import json

from tests.acceptance.conftest import MEDIA
from tests.processes import eventually

OTHER_ACCOUNT = "222222222222"


def done(running, message):
    return running.wait_for("message_done", message=message)


def test_ignored_files_and_objects_are_acknowledged_and_nothing_is_refreshed(small_service):
    configured = json.loads(small_service.config.read_text())
    small_service.configure(
        logs=[each | {"ignore": [f"AWSLogs/{OTHER_ACCOUNT}/*"]} for each in configured["logs"]],
        buckets={MEDIA: {"folder": configured["buckets"][MEDIA][0], "ignore": "_temporary/"}},
        ignore_keys=["*.crc"],
        progress_interval=1,
    )
    with small_service.started() as running:
        done(running, small_service.announce("a/x", account=OTHER_ACCOUNT))
        done(running, small_service.announce("a/_temporary/0/x"))
        done(running, small_service.announce("a/x.crc"))
        counts = running.wait_for("progress", done=3)
        assert counts["skipped"] == {"ignored": 2}
        assert counts["nothing"] == {"an ignored file": 1}
        assert counts["files"] == 2
        assert not running.events("refreshed")
        assert running.stop() == 0
    assert (small_service.messages(), small_service.dead_letters()) == (0, 0)


def test_a_forgotten_bucket_and_a_rule_that_is_too_broad_are_warned_of_at_once(small_service):
    small_service.configure(
        own_writes={"principals": ["*:user/ana"]}, ignore_buckets=["*-scratch"], report={"interval": 0}
    )
    with small_service.started() as running:
        done(running, small_service.announce("a/x", bucket="example-scratch", user="bea"))
        done(running, small_service.announce("a/x", bucket="example-forgotten", user="bea"))
        done(running, small_service.announce("a/y", bucket="example-forgotten", user="bea"))
        done(running, small_service.announce("a/z", user="ana"))
        eventually(lambda: running.events("own_write_skipped"), "the warning")
        [forgotten] = running.events("bucket_not_mapped")
        [own_write] = running.events("own_write_skipped")
        assert running.stop() == 0
    assert (forgotten["level"], forgotten["bucket"], forgotten["key"]) == ("warning", "example-forgotten", "a/x")
    assert (own_write["level"], own_write["rule"]) == ("warning", "own_writes.principals: *:user/ana")
    assert own_write["principal"].endswith(":user/ana")
    assert "ignore_buckets" in forgotten["remedy"]
