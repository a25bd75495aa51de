"""The six causes of a stale bucket, as an operator meets them: the first sign in the log, on the status page and in the metrics,
the answer of `why`, the repair, and `compare`.

`pytest -s` prints the table with the measured times. docs/how-to/stale.md has the same sentences.
"""

import gzip
import html
import json
import os
import re
import shlex
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.acceptance.conftest import COMMAND, MEDIA, REGION
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually, finished, started

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.environment import NO_AUTHORITIES

OTHER = f"jibe-sandbox-{REGION}-projects"
LOGS = "stale-causes-logs"
TOO_BROAD = f"arn:aws:iam::{ACCOUNT}:user/a*"
"""Access Anywhere's user is `access-anywhere`, and `ana` is another one."""
EXPECT = 1.0
"""Seconds. Real deployments expect a message every hour or so."""
MOST = 4
"""Entries of a folder that Access Anywhere refreshes. It refuses larger ones."""


class Place:
    """A log bucket and two queues: one that gets announcements directly, and one that has a topic."""

    def __init__(self, sandbox, folder, stack):
        self.sandbox = sandbox
        self.folder = folder
        self.stack = stack
        self.environment = {**os.environ, **sandbox["environment"]}
        self.config = folder / "jibe-config.json"
        self.s3 = client(sandbox["aws"], "s3", REGION)
        self.sns = client(sandbox["aws"], "sns", REGION)
        self.sqs = aws_client(sandbox["environment"], "sqs", REGION)
        # Without TLS. A client for each question would read more than a hundred certificates each time.
        self.http = stack.enter_context(httpx.Client(timeout=PATIENCE, trust_env=False, verify=NO_AUTHORITIES))
        self.random = Random(1)
        self.s3.create_bucket(Bucket=LOGS)
        self.queue = self.sqs.create_queue(QueueName="stale-causes")["QueueUrl"]
        self.regional = self.sqs.create_queue(QueueName="stale-causes-regional")["QueueUrl"]
        self.topic = self.sns.create_topic(Name="stale-causes")["TopicArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self._arn(),
            "Condition": {"ArnEquals": {"aws:SourceArn": self.topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=self.regional, Attributes={"Policy": policy})
        self.subscribe()

    def subscribe(self):
        found = self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self._arn())
        self.subscription = found["SubscriptionArn"]

    def run(self, **changes):
        """Start the service with these settings."""
        settings = json.loads(Path(self.sandbox["config"]).read_text(encoding="utf-8"))
        settings |= {
            "queues": [{"url": self.queue}, {"url": self.regional, "expect": EXPECT}],
            "logs": [{"bucket": LOGS}],
            "buckets": {bucket: settings["buckets"][bucket] for bucket in (MEDIA, OTHER)},
            "ledger": {"path": str(self.folder / "ledger.sqlite")},
            "poll": {"wait": 1},
            "http": {"port": 0},
            "log": {"format": "json"},
        }
        for name, values in changes.items():
            settings[name] = values(settings[name])
        self.config.write_text(json.dumps(settings))
        command = [*COMMAND, "run", "--config", str(self.config)]
        running = started(command, self.folder, cwd=self.folder, env=self.environment)
        service = self.stack.enter_context(running)
        service.wait_for("started")
        self.views = self.stack.enter_context(Views(f"http://127.0.0.1:{service.wait_for('health_answered')['port']}"))
        return service

    def command(self, *arguments):
        """Run a command to its end. Returns its exit code and its standard output."""
        command = [*COMMAND, *arguments, "--config", str(self.config)]
        ended = finished(command, cwd=self.folder, env=self.environment)
        return ended.returncode, ended.stdout

    def why(self, key, bucket=MEDIA):
        code, output = self.command("why", "--json", f"s3://{bucket}/{key}")
        assert code == 1
        return json.loads(output)

    def compare(self, prefix, bucket=MEDIA):
        code, output = self.command("compare", "--json", f"{bucket}/{prefix}")
        found = json.loads(output)
        assert found["objects"], "nothing was compared"
        return code, found["in_sync"]

    def write(self, *keys, bucket=MEDIA, user="ben", through_topic=False):
        """Write objects, deliver one log file for each, and announce it. Returns the time before that."""
        began = time.time()
        who = records.iam_user(user, account=ACCOUNT, access_key=f"AKIA{user.upper()}")
        for key in keys:
            self.s3.put_object(Bucket=bucket, Key=key, Body=b"a")
            call = Call(who, time.time(), REGION, ACCOUNT, self.random)
            body = json.dumps({"Records": [records.put_object(call, bucket, key, 1)]})
            day = datetime.now(UTC).strftime("%Y/%m/%d")
            file = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{day}/{self.random.getrandbits(64):x}.json.gz"
            self.s3.put_object(Bucket=LOGS, Key=file, Body=gzip.compress(body.encode()))
            announcement = json.dumps({"s3Bucket": LOGS, "s3ObjectKey": [file]})
            if through_topic:
                self.sns.publish(TopicArn=self.topic, Message=announcement)
            else:
                self.sqs.send_message(QueueUrl=self.queue, MessageBody=announcement)
        return began

    def readyz(self, service):
        port = service.wait_for("health_answered")["port"]
        return self.http.get(f"http://127.0.0.1:{port}/readyz").json()

    def shows(self, key, bucket=MEDIA):
        index = self.http.get(f"{self.sandbox['access_anywhere']}/sandbox/index").json()
        return any((file["bucket"], file["key"]) == (bucket, key) for file in index)

    def wait_until_shown(self, key, bucket=MEDIA):
        eventually(lambda: self.shows(key, bucket), f"{key} is shown")

    def set_faults(self, **faults):
        url = f"{self.sandbox['access_anywhere']}/sandbox/faults"
        self.http.put(url, json=faults).raise_for_status()

    def deny_logs(self):
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{LOGS}/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.s3.put_bucket_policy(Bucket=LOGS, Policy=policy)

    def _arn(self):
        found = self.sqs.get_queue_attributes(QueueUrl=self.regional, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]


class Views:
    """Looks at the status page and the metrics of a service again and again, as a person and as Prometheus would."""

    INTERVAL = 0.25
    """Seconds between two looks. It is the precision of the times."""

    def __init__(self, address):
        self._address = address
        self._seen = {"page": [], "metrics": []}
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._looking.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._looking.join()

    def first(self, kind, *parts):
        """When all these texts were seen together for the first time. Waits for that."""

        def first():
            return next((at for at, text in self._seen[kind] if all(re.search(part, text) for part in parts)), None)

        return eventually(first, lambda: f"{parts} on the {kind}:\n{self._seen[kind][-1:]}")

    def _look(self):
        with httpx.Client(timeout=PATIENCE, trust_env=False, verify=NO_AUTHORITIES) as http:
            while not self._ended.wait(self.INTERVAL):
                for kind, path in (("page", "/"), ("metrics", "/metrics")):
                    try:
                        answer = http.get(f"{self._address}{path}")
                    except httpx.TransportError:
                        return  # the service has ended
                    if answer.status_code == 200:
                        self._seen[kind].append(
                            (time.time(), _readable(answer.text) if kind == "page" else answer.text)
                        )


def _readable(page):
    """The text of a page, as it is read."""
    without_tags = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(without_tags).split())


class Story:
    """What an operator sees of each cause."""

    def __init__(self):
        self.signs = {}
        self.seconds = {}
        self.seen_after = {}
        self.whys = {}
        self.compared = []
        self.others = {}

    def sign(self, cause, began, seen, views):
        """`began`: the time just before the change that the sign is about, or before the subscription was removed."""
        self.signs[cause] = seen
        self.seconds[cause] = datetime.fromisoformat(seen["timestamp"]).timestamp() - began
        self.seen_after[cause] = {
            kind: views.first(kind, *VISIBLE[cause][kind]) - began for kind in ("page", "metrics")
        }

    def first_reason(self, cause):
        return self.whys[cause]["reasons"][0]

    def table(self):
        for cause, seen in self.signs.items():
            first = self.whys[cause]
            yield f"{cause}: {seen['level']} {seen['event']} after {self.seconds[cause]:.1f} s"
            yield from (f"  on the {kind} after {after:.1f} s" for kind, after in self.seen_after[cause].items())
            yield from (f"  {name}: {seen[name]}" for name in ("reason", "remedy") if name in seen)
            yield f"  why: {first['verdict']}"
            for each in first["reasons"]:
                yield f"    {each['code']}: {each['what']}\n      -> {each['remedy']}"
        yield from (f"compare after all repairs: exit code {code}, in sync: {synced}" for code, synced in self.compared)


@pytest.fixture(scope="module")
def story(sandbox, tmp_path_factory):
    """All six causes in one sandbox, with two starts of the service: with wrong settings, and with the right ones."""
    with ExitStack() as stack:
        place = Place(sandbox, tmp_path_factory.mktemp("stale"), stack)
        stack.callback(place.set_faults)
        story = Story()
        service = place.run(
            buckets=lambda buckets: {MEDIA: buckets[MEDIA]},
            own_writes=lambda own: own | {"principals": [*own["principals"], TOO_BROAD]},
        )
        bucket_not_mapped(place, service, story)
        own_writes_too_broad(place, service, story)
        access_anywhere_down(place, service, story)
        failing_folder(place, service, story)
        log_bucket_denied(place, service, story)
        place.write("stale/subscription/heard.txt", through_topic=True)
        place.wait_until_shown("stale/subscription/heard.txt")
        began = time.time()
        place.sns.unsubscribe(SubscriptionArn=place.subscription)
        assert service.stop() == 0
        service = place.run()
        settings_mended(place, service, story)
        subscription_removed(place, service, story, began)
        past_repaired(place, story)
        story.compared = [place.compare("stale/unmapped", OTHER), place.compare("stale")]
        assert service.stop() == 0
        print("", *story.table(), sep="\n")
        return story


def bucket_not_mapped(place, service, story):
    began = place.write("stale/unmapped/a.txt", bucket=OTHER)
    story.sign("not mapped", began, service.wait_for("bucket_not_mapped", bucket=OTHER), place.views)
    story.whys["not mapped"] = place.why("stale/unmapped/a.txt", OTHER)


def own_writes_too_broad(place, service, story):
    began = place.write("stale/own/a.txt", user="ana")
    story.sign("own writes", began, service.wait_for("own_write_skipped"), place.views)
    story.whys["own writes"] = place.why("stale/own/a.txt")


def access_anywhere_down(place, service, story):
    place.set_faults(down={})
    began = place.write("stale/down/a.txt")
    story.sign("down", began, service.wait_for("circuit_opened"), place.views)
    story.others["down"] = place.readyz(service)
    story.whys["down"] = place.why("stale/down/a.txt")
    place.set_faults()
    place.wait_until_shown("stale/down/a.txt")


def failing_folder(place, service, story):
    folder = "stale/failing"
    place.write(f"{folder}/0.txt")
    place.wait_until_shown(f"{folder}/0.txt")
    for number in range(1, MOST + 1):
        place.s3.put_object(Bucket=MEDIA, Key=f"{folder}/{number}.txt", Body=b"a")
    place.set_faults(folders_too_large={"most": MOST, "refuse": True})
    began = place.write(f"{folder}/last.txt")
    story.sign("failing folder", began, service.wait_for("refresh_failed"), place.views)
    story.whys["failing folder"] = place.why(f"{folder}/last.txt")
    place.set_faults()
    story.others["refresh"] = place.command("refresh", "--json", f"s3://{MEDIA}/{folder}/last.txt")
    story.others["shown after refresh"] = place.shows(f"{folder}/last.txt")


def log_bucket_denied(place, service, story):
    place.deny_logs()
    began = place.write("stale/denied/0.txt")
    story.sign("log bucket", began, service.wait_for("file_failed"), place.views)
    story.whys["log bucket"] = place.why("stale/denied/0.txt")
    place.write("stale/denied/1.txt", "stale/denied/2.txt")
    service.wait_for("log_bucket_unreadable")
    story.others["unreadable"] = place.readyz(service)
    place.s3.delete_bucket_policy(Bucket=LOGS)
    for number in range(3):
        place.wait_until_shown(f"stale/denied/{number}.txt")


def settings_mended(place, service, story):
    """The new bucket is refreshed as a whole by itself."""
    story.others["imported"] = service.wait_for("imported")
    story.others["shown after import"] = place.shows("stale/unmapped/a.txt", OTHER)
    story.others["settings"] = service.wait_for("settings_changed")


def subscription_removed(place, service, story, began):
    place.write("stale/subscription/missed.txt", through_topic=True)
    story.sign("subscription", began, service.wait_for("nothing_received"), place.views)
    story.whys["subscription"] = place.why("stale/subscription/missed.txt")
    place.subscribe()


def past_repaired(place, story):
    """One command reads both what was skipped and what was not announced."""
    missed = ("stale/own/a.txt", "stale/subscription/missed.txt")
    story.others["shown before backfill"] = [place.shows(key) for key in missed]
    command = shlex.split(story.others["settings"]["remedy"].partition(";")[0])
    story.others["backfill"] = place.command(*command[1:], "--json")
    story.others["shown after backfill"] = [place.shows(key) for key in missed]


CAUSES = {
    "not mapped": ("bucket_not_mapped", "stale", "not-mapped"),
    "down": ("circuit_opened", "unknown", "access-anywhere-down"),
    "failing folder": ("refresh_failed", "stale", "folder-fails"),
    "log bucket": ("file_failed", "stale", "log-bucket-unreadable"),
    "subscription": ("nothing_received", "unknown", "nothing-received"),
    "own writes": ("own_write_skipped", "stale", "own-write"),
}
"""Of each cause: the event of its first sign, the verdict of `why`, and the code of its reason."""


VISIBLE = {
    "not mapped": {
        "page": ["changes of 1 bucket are not shown", OTHER],
        "metrics": [rf'jibe_records_skipped_total{{bucket="{OTHER}",reason="not-mapped"}} [1-9]'],
    },
    "down": {
        "page": [r"Access Anywhere is down for \d+ s"],
        "metrics": ['jibe_gate_closed{gate="access-anywhere"} 1'],
    },
    "failing folder": {
        "page": ["1 folder cannot be refreshed", "folder_too_large"],
        "metrics": [r'jibe_refresh_failures_total{error="CallFailed"} [1-9]'],
    },
    "log bucket": {
        "page": [rf"Log bucket {LOGS} refuses files: \d+ so far"],
        "metrics": ['jibe_log_buckets_unreadable{cause="refused"} 1'],
    },
    "subscription": {
        "page": ["No message from stale-causes-regional since"],
        "metrics": [r'jibe_silent{[^}]*source="stale-causes-regional"[^}]*} 1'],
    },
    "own writes": {
        "page": [r"own_writes\.principals: "],
        "metrics": [rf'jibe_records_skipped_total{{bucket="{MEDIA}",reason="own-write"}} [1-9]'],
    },
}
"""Of each cause: what the status page says (without its tags), and what the metrics say. Regular expressions."""


@pytest.mark.parametrize("cause", CAUSES)
def test_the_status_page_and_the_metrics_show_the_cause_too(story, cause):
    """The story waits for the words in `VISIBLE`. The table that `pytest -s` prints says how long it waited."""
    assert set(story.seen_after[cause]) == {"page", "metrics"}
    assert min(story.seen_after[cause].values()) > 0


@pytest.mark.parametrize("cause", CAUSES)
def test_the_log_shows_the_cause_as_a_warning(story, cause):
    event, _, _ = CAUSES[cause]
    seen = story.signs[cause]
    assert (seen["event"], seen["level"]) == (event, "warning")


@pytest.mark.parametrize("cause", CAUSES)
def test_why_names_the_cause_and_what_to_do(story, cause):
    _, verdict, code = CAUSES[cause]
    answer = story.whys[cause]
    reasons = {each["code"]: each["remedy"] for each in answer["reasons"]}
    assert answer["verdict"] == verdict
    assert reasons[code]
    # A change of a moment ago need not be shown yet, so a silence before it is only the second reason.
    assert list(reasons).index(code) == (cause == "subscription")


def test_after_the_repairs_everything_is_in_sync(story):
    """Both buckets: the one that was not mapped, and the one with the folders of all other causes."""
    assert story.compared == [(0, True), (0, True)]


def test_a_bucket_that_is_added_to_the_settings_needs_nothing_more(story):
    """The whole folder is refreshed, because its earlier changes were skipped."""
    assert "add the bucket to buckets" in story.signs["not mapped"]["remedy"]
    assert f"add {OTHER} to `buckets`" in story.first_reason("not mapped")["remedy"]
    assert story.others["imported"]["bucket"] == OTHER
    assert story.others["shown after import"]


def test_while_access_anywhere_is_down_the_service_is_not_ready_and_says_why(story):
    assert not story.others["down"]["ready"]
    assert "Access Anywhere is down since " in str(story.others["down"])
    assert story.first_reason("down")["what"].startswith("Access Anywhere is down since ")


def test_a_folder_is_refreshed_by_the_command_that_why_names(story):
    code, output = story.others["refresh"]
    assert "jibe-sqs refresh 's3://" in story.first_reason("failing folder")["remedy"]
    assert (code, json.loads(output)["failed"]) == (0, [])
    assert story.others["shown after refresh"]


def test_a_log_bucket_is_named_from_its_first_refusal_on(story):
    """Later the service knows that the bucket as a whole cannot be read."""
    assert re.match(rf"Log bucket {LOGS} refuses files: \d+ so far", story.first_reason("log bucket")["what"])
    assert f"Log bucket {LOGS} cannot be read since " in str(story.others["unreadable"])
    assert not story.others["unreadable"]["ready"]


def test_the_backfill_that_the_service_names_repairs_the_past(story):
    """Both what a rule skipped that is narrower now, and what was never announced."""
    assert "settings_changed" in story.signs["own writes"]["remedy"]
    assert "settings_changed" in story.first_reason("own writes")["remedy"]
    assert story.others["settings"]["remedy"].startswith("jibe-sqs backfill --since 1d; ")
    assert "own_writes.principals" in story.others["settings"]["changed"]
    assert story.others["shown before backfill"] == [False, False]
    code, output = story.others["backfill"]
    assert (code, json.loads(output)["failed"]) == (0, 0)
    assert story.others["shown after backfill"] == [True, True]
