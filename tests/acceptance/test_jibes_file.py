"""Jibe's own configuration file: three keys are enough. Each source works as in Jibe, or is reported as a mistake."""

import gzip
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import eventually

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.scenario import Scenario, Via
from jibe_sqs.sandbox.service_configuration import LOGIN
from jibe_sqs.settings import DefaultLogs, Rules, Settings, load
from jibe_sqs.settings.jibe import translated

THREE_KEYS = {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"}
QUEUE = "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"
BUCKETS = {"media": "/Amazon S3/media"}
EXAMPLE = Path(__file__).parents[2] / "config" / "jibe-original.json"

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def loaded(tmp_path):
    def loaded(values, kind=Settings):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values))
        return load(kind, config=path)

    return loaded


@pytest.fixture
def problems(loaded):
    def problems(values, kind=Settings):
        with pytest.raises(SettingsError) as raised:
            loaded(values, kind)
        assert "CANARY" not in str(raised.value)
        return raised.value.problems

    return problems


def sources(*found, **others):
    return {**THREE_KEYS, **others, "sources": list(found)}


def source(flavor, **keys):
    return {"name": "Amazon S3", "flavor": flavor, **keys}


# Three keys


def assert_sweeps_by_default(settings):
    (logs,) = settings.logs
    assert isinstance(logs, DefaultLogs)
    assert (logs.bucket, logs.via, logs.sweep, logs.prefix, logs.providers) == ("*", "access-anywhere", 180, "", ())
    assert not settings.queues
    assert settings.buckets is None


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"log": {"level": "debug"}},
        {"own_writes": {"principals": "arn:one"}, "ledger": {"kind": "memory"}},
        {"sources": []},
    ],
)
def test_three_keys_sweep_every_bucket_every_three_minutes(loaded, others):
    assert_sweeps_by_default(loaded({**THREE_KEYS, **others}))


def test_the_example_has_only_the_keys_that_jibe_documents():
    assert json.loads(EXAMPLE.read_text()).keys() == THREE_KEYS.keys()
    assert_sweeps_by_default(load(Settings, config=EXAMPLE))


def test_our_names_of_the_three_keys_have_the_same_effect(loaded):
    assert_sweeps_by_default(loaded({"access_anywhere": THREE_KEYS}))


@pytest.mark.parametrize("prefix", ["JIBE_", "JIBE_ACCESS_ANYWHERE__"])
def test_three_variables_have_the_same_effect(monkeypatch, prefix):
    for name, value in THREE_KEYS.items():
        monkeypatch.setenv(f"{prefix}{name.upper()}", value)
    settings = load(Settings)
    assert_sweeps_by_default(settings)
    assert (settings.access_anywhere.login, settings.access_anywhere.endpoint) == ("ana", THREE_KEYS["endpoint"])
    assert settings.access_anywhere.password.get_secret_value() == "PASSWORD-CANARY"


def test_a_secret_file_may_hold_jibes_password(loaded, monkeypatch, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "JIBE_PASSWORD").write_text("from-a-secret-file\n")
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(tmp_path / "secrets"))
    settings = loaded({"endpoint": THREE_KEYS["endpoint"], "login": "ana"})
    assert settings.access_anywhere.password.get_secret_value() == "from-a-secret-file"


def test_jibes_variables_win_over_the_file_and_our_variables_win_over_jibes(loaded, monkeypatch):
    monkeypatch.setenv("JIBE_LOGIN", "bo")
    monkeypatch.setenv("JIBE_ENDPOINT", "https://other.example.com")
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__ENDPOINT", "https://third.example.com")
    settings = loaded({"access_anywhere": THREE_KEYS})
    assert (settings.access_anywhere.login, settings.access_anywhere.endpoint) == ("bo", "https://third.example.com")


def test_other_commands_accept_jibes_variables(loaded, monkeypatch):
    monkeypatch.setenv("JIBE_LOGIN", "bo")
    assert loaded({"log": {"level": "debug"}}, Rules).log.level == "debug"


@pytest.mark.parametrize(
    "configured",
    [
        {"queues": [{"url": QUEUE}]},
        {"logs": [{"bucket": "trail", "sweep": "1h"}]},
        {"queues": [{"url": QUEUE}], "buckets": BUCKETS},
    ],
)
def test_a_configuration_with_queues_or_logs_gets_no_default_logs(loaded, configured):
    settings = loaded({**THREE_KEYS, **configured})
    assert [each.bucket for each in settings.logs] == [each["bucket"] for each in configured.get("logs", [])]
    assert len(settings.queues) == len(configured.get("queues", []))


@pytest.mark.parametrize(
    "incomplete", [{"buckets": BUCKETS}, {"queues": []}, {"logs": []}, {"logs": [{"bucket": "trail"}]}]
)
def test_missing_queues_are_still_a_mistake_if_defaults_do_not_apply(problems, incomplete):
    assert problems({**THREE_KEYS, **incomplete}) == [
        "queues: missing: the SQS queues, each with its url; or logs with a sweep"
    ]


def test_a_ledger_that_forgets_sooner_than_the_default_sweeps_look_back_is_a_mistake(problems):
    (problem,) = problems({**THREE_KEYS, "ledger": {"retain_days": 1}})
    assert problem.startswith("ledger.retain_days: must be more than sweep_days (2)")


# Sources


def test_cloudtrail_sources_sweep_the_buckets_of_their_providers(loaded):
    settings = loaded(sources(source("CloudTrail"), {"name": "Archive", "flavor": "cloudtrail"}))
    (logs,) = settings.logs
    assert (logs.bucket, logs.via, logs.sweep) == ("*", "access-anywhere", 180)
    assert logs.providers == ("Amazon S3", "Archive")
    assert not isinstance(logs, DefaultLogs)


def test_a_cloudtrail_source_without_a_name_sweeps_the_buckets_of_all_providers(loaded):
    assert loaded(sources(source("CloudTrail"), {"flavor": "CloudTrail"})).logs[0].providers == ()


@pytest.mark.parametrize("flavor", ["SQS", "sqs", "SNS", "Cloudian"])
def test_a_queue_with_our_names_becomes_an_entry_of_queues(loaded, flavor):
    keys = {"url": QUEUE, "endpoint": "https://sqs.example.com", "region": "region1", "access_key_id": "A"}
    settings = loaded(sources(source(flavor, **keys, secret_access_key="S")))
    (queue,) = settings.queues
    assert (queue.url, queue.endpoint, queue.region, queue.access_key_id) == tuple(keys.values())
    assert settings.logs == ()


def test_sources_are_added_to_our_entries(loaded):
    found = sources(
        source("SQS", url=f"{QUEUE}-2"),
        source("CloudTrail"),
        queues=[{"url": QUEUE}],
        logs=[{"bucket": "trail"}],
    )
    settings = loaded(found)
    assert [queue.url for queue in settings.queues] == [QUEUE, f"{QUEUE}-2"]
    assert [logs.bucket for logs in settings.logs] == ["trail", "*"]


def test_sources_are_read_beside_our_name_of_the_three_keys(loaded):
    settings = loaded({"access_anywhere": THREE_KEYS, "sources": [source("CloudTrail")]})
    assert settings.logs[0].providers == ("Amazon S3",)


ALL = {"bucket": "*", "via": "access-anywhere", "sweep": "3m"}


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ([{"bucket": "trail", "providers": "Logs"}], "providers: allowed only with via: access-anywhere"),
        ([{**ALL, "bucket": "trail", "folder": "/Logs/trail", "providers": "Logs"}], "without folder"),
        ([{**ALL, "providers": "Logs"}, ALL], "put all providers into one of them"),
        ([{**ALL, "providers": ""}], "logs.0.providers.0"),
    ],
)
def test_providers_without_effect_are_a_mistake(problems, logs, words):
    (problem,) = problems({**THREE_KEYS, "logs": logs, "queues": [{"url": QUEUE}]})
    assert words in problem


def test_a_sweep_of_every_bucket_conflicts_with_buckets(problems):
    assert problems(sources(source("CloudTrail"), buckets=BUCKETS)) == [
        "logs: *: via access-anywhere: remove buckets, and jibe-sqs asks Access Anywhere"
    ]


SMB = {"share": "CANARY", "smb_dir": "", "smb_server": "CANARY", "smb_username": "CANARY", "smb_password": "CANARY"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (source("SMB", **SMB), ("sources.0: SMB", "does not handle SMB shares")),
        (source("SQS"), ("sources.0: SQS", "url", 'queues: [{"url"')),
        (source("SNS"), ("sources.0: SNS", "url", 'queues: [{"url"')),
        (source("SQS", queue="CANARY", secret="CANARY"), ("sources.0: SQS: queue, secret", 'queues: [{"url"')),
        (source("Cloudian", sqs_endpoint="CANARY"), ("sources.0: Cloudian: sqs_endpoint", '"endpoint"', "queues: [")),
        (source("CloudTrail", path="CANARY"), ("sources.0: CloudTrail: path", "logs: [", '"via": "access-anywhere"')),
        (source("CANARY"), ("sources.0.flavor", "CloudTrail, SQS, SNS, Cloudian")),
        (source(None), ("sources.0.flavor", "CloudTrail")),
        ({"name": "Amazon S3"}, ("sources.0.flavor", "CloudTrail")),
        ("CANARY", ("sources.0", "must be an object")),
        (["CloudTrail"], ("sources.0", "must be an object")),
        ({"name": 3, "flavor": "CloudTrail"}, ("sources.0.name", "name of a provider")),
        ({"name": "", "flavor": "CloudTrail"}, ("sources.0.name", "name of a provider")),
        (source("SQS", url="CANARY"), ("queues.0.url", "not an address")),
    ],
)
def test_a_source_without_equivalent_is_a_mistake_with_a_remedy(problems, found, words):
    (problem,) = problems(sources(found))
    for word in words:
        assert word in problem


@pytest.mark.parametrize("found", [{}, "CloudTrail", 3, None, {"name": "Amazon S3", "flavor": "CloudTrail"}])
def test_sources_must_be_a_list(problems, found):
    (problem,) = problems({**THREE_KEYS, "sources": found})
    assert problem.startswith("sources: must be a list")


def test_mistakes_in_sources_are_reported_together_with_all_others(problems):
    found = problems(sources(source("SMB"), source("SQS"), source("Cloudain"), source("CloudTrail"), drain_timeout=-1))
    assert [problem.split(": ")[0] for problem in found] == [
        "drain_timeout",
        "sources.0",
        "sources.1",
        "sources.2.flavor",
    ]


def test_other_commands_report_mistakes_in_sources(problems):
    (problem,) = problems(sources(source("SMB")), Rules)
    assert problem.startswith("sources.0: SMB")


@pytest.mark.parametrize("name", ["sources", "sorces"])
def test_sources_have_no_variable(problems, monkeypatch, name):
    monkeypatch.setenv(f"JIBE_{name.upper()}", "CANARY")
    (problem,) = problems(THREE_KEYS)
    assert problem.startswith(f"JIBE_{name.upper()}: no such setting")


def test_a_misspelt_sources_is_a_mistake(problems):
    assert problems({**THREE_KEYS, "source": []}) == ["source: no such setting; did you mean sources?"]


# Other keys


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("provider", "providers"),
        ("bucketNames", "buckets"),
        ("excludePaths", "buckets"),
        ("queueName", "queues: ["),
        ("cloudtrailPath", "logs: ["),
        ("smb_server", "does not handle SMB shares"),
    ],
)
def test_an_unknown_key_that_may_select_what_is_synchronised_is_a_mistake(problems, name, instead):
    (problem,) = problems({**THREE_KEYS, name: "CANARY"})
    assert problem.startswith(f"{name}: not a key that Jibe documents, and it may select what is synchronised")
    assert instead in problem


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("slackWebhook", "alerts.webhook"),
        ("report_upload_path", "report.interval, report.folder"),
        ("loggingConfig", "log.level, log.format"),
        ("threads", "access_anywhere.concurrency"),
        ("scanMinutes", "logs.sweep, poll.wait"),
        ("verify_ssl", "access_anywhere.ca_file"),
        ("comment", None),
    ],
)
def test_other_unknown_keys_give_a_warning_with_our_setting(loaded, capsys, name, instead):
    assert_sweeps_by_default(loaded({**THREE_KEYS, name: "CANARY"}))
    logged = capsys.readouterr().out
    assert "setting_ignored" in logged
    assert name in logged
    assert instead is None or instead in logged
    assert "CANARY" not in logged


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SOURCE = st.fixed_dictionaries(
    {}, optional={"name": JSON, "flavor": st.sampled_from(["CloudTrail", "SQS", "Cloudian", "SMB"]) | JSON, "url": JSON}
)


@given(st.lists(SOURCE | JSON, max_size=4) | JSON, JSON, JSON)
def test_each_source_of_any_shape_becomes_an_entry_or_a_mistake(found, queues, logs):
    values, problems = translated({"sources": found, "queues": queues, "logs": logs}, Settings.model_fields)
    assert "sources" not in values
    assert all(problem.startswith("sources") for problem in problems)
    if not problems and isinstance(queues, list) and isinstance(logs, list):
        flavors = [each["flavor"].casefold() for each in found]
        assert len(values["queues"]) - len(queues) == len(flavors) - flavors.count("cloudtrail")
        assert len(values["logs"]) - len(logs) == ("cloudtrail" in flavors)


# As a process


class Unannounced:
    """The sandbox, whose provider `Logs` shows the log bucket, with changes whose log files are not announced."""

    def __init__(self, running, folder):
        self.running = running
        self.folder = folder
        self.bucket = next(iter(running.deployment.buckets))
        self.region = running.deployment.buckets[self.bucket]

    def change(self, name, log_bucket):
        """Writes an object two folders deep, and its log file. Returns the key of the object."""
        key, at = f"{name}/new/object.txt", time.time()
        account = self.running.deployment.account
        s3 = self.running.deployment.client("s3", self.region)
        s3.put_object(Bucket=self.bucket, Key=key, Body=name.encode())
        caller = records.iam_user("ana", account=account, access_key="AKIAANA")
        record = records.put_object(Call(caller, at, self.region, account, Random(name)), self.bucket, key, len(name))
        day = datetime.fromtimestamp(at, UTC)
        log = f"AWSLogs/{account}/CloudTrail/{self.region}/{day:%Y/%m/%d}/{account}_CloudTrail_{name}.json.gz"
        body = gzip.compress(json.dumps({"Records": [record]}).encode())
        region = self.running.deployment.buckets.get(log_bucket, self.running.deployment.home)
        self.running.deployment.client("s3", region).put_object(Bucket=log_bucket, Key=log, Body=body)
        return key

    def configured(self, **others):
        path = self.folder / "three-keys.json"
        keys = {"endpoint": self.running.access_anywhere, "login": LOGIN, "password": self.running.password}
        path.write_text(json.dumps({**keys, **others}))
        return str(path)

    def logs_in_log_bucket(self):
        s3 = self.running.deployment.client("s3")
        listed = s3.list_objects_v2(Bucket=self.running.deployment.log_bucket, Prefix="AWSLogs/")
        return sum(1 for each in listed["Contents"] if each["Key"].endswith(".gz"))

    def wait_until_shown(self, key, service):
        def shown():
            return any((file["bucket"], file["key"]) == (self.bucket, key) for file in self.running.get_state("index"))

        eventually(shown, lambda: f"{key} to be shown\n{service.everything}")


@pytest.fixture(scope="module")
def unannounced(tmp_path_factory):
    with world.running(scenario=Scenario(logs_via=Via.ACCESS_ANYWHERE)) as running:
        yield Unannounced(running, tmp_path_factory.mktemp("three-keys"))


def stopped(service):
    """The last line of the service, after an orderly stop."""
    assert service.stop() == 0
    (last,) = service.events("stopped")
    return last


def test_three_keys_find_and_apply_an_unannounced_log(unannounced, start):
    """The first sweep begins at once, so the test does not wait for three minutes."""
    in_log_bucket = unannounced.change("one", unannounced.running.deployment.log_bucket)
    in_data_bucket = unannounced.change("two", unannounced.bucket)
    service = start("run", "--config", unannounced.configured())
    for key in (in_log_bucket, in_data_bucket):
        unannounced.wait_until_shown(key, service)
    (logged,) = service.events("sweeping_by_default")
    assert (logged["bucket"], logged["folder"], logged["via"], logged["interval"]) == (
        "*",
        "AWSLogs",
        "access-anywhere",
        180,
    )
    assert logged["level"] == "warning"
    assert unannounced.running.password not in service.output
    end = stopped(service)
    assert (end["done"], end["files"], end["events"], end["errors"]) == (2, 2, 2, {})


def test_a_cloudtrail_source_reads_the_logs_of_its_provider_only(unannounced, start):
    """Names may differ in case, as in Access Anywhere. The service logs a name that no provider has."""
    in_provider = unannounced.change("three", unannounced.running.deployment.log_bucket)
    unannounced.change("four", unannounced.bucket)
    found = [{"name": "logs", "flavor": "CloudTrail"}, {"name": "Lgos", "flavor": "CloudTrail"}]
    service = start("run", "--config", unannounced.configured(sources=found))
    # The service logs a sweep at its end, after it has offered all files that it may read.
    swept = service.wait_for("swept")
    assert (swept["bucket"], swept["offered"]) == ("*", unannounced.logs_in_log_bucket())
    unannounced.wait_until_shown(in_provider, service)
    (missing,) = service.events("provider_not_shown")
    assert missing["provider"] == "Lgos"
    assert not service.events("sweeping_by_default")
    stopped(service)
