"""The world in one piece: AWS and Access Anywhere as processes, deployed, with publishers of changes that have started."""

import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import httpx
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from jibe_sqs.core.errors import LogStoreUnavailable
from jibe_sqs.sandbox.aws.access_logs import PREFIX as ACCESS_LOG_PREFIX
from jibe_sqs.sandbox.aws.audit_logs import LYVE_PREFIX, MINIO_PREFIX
from jibe_sqs.sandbox.aws.certificates import CA_FILE
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, Deployment, deploy, deploy_store
from jibe_sqs.sandbox.aws.host_names import HOSTS
from jibe_sqs.sandbox.aws.object_writes import WRITES
from jibe_sqs.sandbox.aws.publishers import Publishers
from jibe_sqs.sandbox.aws.s3_calls import (
    ACCESS_ANYWHERE,
    ACCESS_ANYWHERE_ADDRESS,
    ACCESS_ANYWHERE_KEY,
    access_anywhere_arn,
)
from jibe_sqs.sandbox.change_feeds import LOG_FORMATS, ChangeFeed, feed_by_bucket
from jibe_sqs.sandbox.environment import of_client, of_consumer, of_server, of_store_client
from jibe_sqs.sandbox.scenario import ORDINARY, Scenario, Strategy, Via

LOGIN: Final = "admin@sandbox.example"
VISIBILITY_TIMEOUT: Final = 10
"""Seconds; short, so that what a killed consumer held shows again soon."""
MAX_RECEIVES: Final = 10
START_TIMEOUT: Final = 60.0
"""Seconds that a server may take to start."""


class World(msgspec.Struct, frozen=True):
    """A running world. `bucket_map`: bucket -> the folders of Access Anywhere that show it, the first of them first."""

    deployment: Deployment
    publishers: Publishers
    access_anywhere: str
    password: str
    permanent_token: str
    environment: Mapping[str, str]
    """Of programs that use AWS there under its real host names."""
    bucket_map: Mapping[str, Sequence[str]]
    config: Path
    scenario: Scenario

    def description(self) -> dict[str, Any]:
        """What other programs need to know of it."""
        deployment = self.deployment
        return {
            "aws": deployment.endpoint,
            "access_anywhere": self.access_anywhere,
            "login": LOGIN,
            "password": self.password,
            "permanent_token": self.permanent_token,
            "log_bucket": deployment.log_bucket,
            "buckets": {bucket: folders[0] for bucket, folders in self.bucket_map.items()},
            "topics": deployment.topics,
            "queues": deployment.queues,
            "dead_letters": deployment.dead_letters,
            "config": str(self.config),
            "environment": dict(self.environment),
        }

    @property
    def consumer_environment(self) -> dict[str, str]:
        """Of a service that reads this world's configuration."""
        return of_consumer(self.environment, has_credentials=self.scenario.logs_via is Via.S3)

    def hosts(self) -> dict[str, int]:
        """AWS's host names that were contacted, and how many requests each got. Empty for another server."""
        if self.scenario.aws_endpoint:
            return {}
        answer = httpx.get(self.deployment.endpoint + HOSTS, timeout=60, trust_env=False)
        return msgspec.json.decode(answer.content, type=dict[str, int])

    def foreign_writes(self, since: int) -> list[dict[str, Any]]:
        """The changes of objects that other programs made under AWS's host names, with a number greater than that."""
        answer = httpx.get(f"{self.deployment.endpoint}{WRITES}?since={since}", timeout=60, trust_env=False)
        return msgspec.json.decode(answer.content, type=list[dict[str, Any]])

    def get_state(self, path: str) -> Any:
        """What the Access Anywhere server tells the sandbox itself, at `/sandbox/PATH`."""
        return httpx.get(f"{self.access_anywhere}/sandbox/{path}", timeout=60, trust_env=False).json()

    def set_faults(self, **faults: object) -> None:
        """Have Access Anywhere suffer these faults from now on, and no others."""
        answer = httpx.put(f"{self.access_anywhere}/sandbox/faults", json=faults, timeout=60, trust_env=False)
        answer.raise_for_status()


@contextmanager
def running(
    *,
    seed: int = 0,
    archive: bool = False,
    scenario: Scenario = ORDINARY,
    visibility_timeout: int = VISIBILITY_TIMEOUT,
    max_receives: int = MAX_RECEIVES,
) -> Iterator[World]:
    """A world, from nothing, that ends with the block. `archive`: one bucket is shown in two providers' folders.

    `visibility_timeout`: seconds. `max_receives`: then a queue's own redrive makes a message a dead letter.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="jibe-sandbox-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if scenario.aws_endpoint:
            aws = scenario.aws_endpoint
            try:
                deployed = deploy_store(aws, visibility_timeout=visibility_timeout, max_receives=max_receives)
            except (BotoCoreError, ClientError, ValueError) as error:
                raise LogStoreUnavailable(f"{aws}: cannot make buckets and queues there: {error}") from error
            environment = of_store_client(deployed.home)
        else:
            aws = stack.enter_context(server("jibe_sqs.sandbox.aws", "--certificates", str(folder)))
            deployed = deploy(aws, visibility_timeout=visibility_timeout, max_receives=max_receives)
            environment = of_client(proxy=aws, ca_file=str(folder / CA_FILE), region=deployed.home)
        deployment = msgspec.structs.replace(deployed, loses_notifications=scenario.lose_notifications)
        providers = _providers(deployment, archive=archive, logs=scenario.logs_via is Via.ACCESS_ANYWHERE)
        password, token = secrets.token_urlsafe(12), secrets.token_urlsafe(24)
        server_config = folder / "access-anywhere.json"
        _write(
            server_config,
            {"login": LOGIN, "password": password, "permanent_token": token, "providers": providers},
        )
        access_anywhere = stack.enter_context(
            server("jibe_sqs.sandbox.access_anywhere", "--aws-endpoint", aws, "--config", str(server_config))
        )
        bucket_map: dict[str, list[str]] = {}
        for provider in providers:
            for bucket in provider["buckets"]:
                bucket_map.setdefault(bucket, []).append(f"/{provider['name']}/{bucket}")
        world = World(
            deployment=deployment,
            publishers=Publishers(
                deployment,
                feed_by_bucket(scenario.format_, deployment.buckets, in_files=scenario.lose_notifications),
                seed=seed,
            ),
            access_anywhere=access_anywhere,
            password=password,
            permanent_token=token,
            environment=environment,
            bucket_map=bucket_map,
            config=folder / "jibe-config.json",
            scenario=scenario,
        )
        _write(world.config, _configuration(world))
        world.publishers.start()
        yield world


@contextmanager
def consumer(world: World, output: IO[bytes] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """`jibe-sqs run` against this world, as a process; stopped at the end as an operator stops it."""
    process = start_consumer(world.config, world.consumer_environment, output)
    try:
        yield process
    finally:
        _stop(process)


def start_consumer(
    config: Path, environment: Mapping[str, str], output: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """The same by its configuration and its whole environment; the caller stops it."""
    return subprocess.Popen(
        [sys.executable, "-m", "jibe_sqs", "run", "--config", str(config)],
        stderr=output,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


def _providers(deployment: Deployment, *, archive: bool, logs: bool) -> list[dict[str, Any]]:
    """As customers have them: a provider a region, perhaps one that shows some bucket a second time, or one for logs."""
    regions = dict.fromkeys(deployment.buckets.values())
    providers = [
        {
            "name": f"Amazon S3 {region}",
            "region": region,
            "buckets": [bucket for bucket, where in deployment.buckets.items() if where == region],
        }
        for region in regions
    ]
    if archive:
        bucket, region = next(iter(deployment.buckets.items()))
        providers.append({"name": "Archive", "region": region, "buckets": [bucket]})
    if logs:
        providers.append({"name": "Logs", "region": deployment.home, "buckets": [deployment.log_bucket]})
    return providers


def _configuration(world: World) -> dict[str, Any]:
    """What an operator of AWS would write: no endpoint, no region. Only the times are shorter.

    For another server it has the endpoint and the region. AWS credentials come from the environment. If logs are read through Access Anywhere, there are credentials for the
    queues only.
    """
    deployment, scenario = world.deployment, world.scenario
    through_aa = scenario.logs_via is Via.ACCESS_ANYWHERE
    for_queues = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY} if through_aa else {}
    settings = {
        "access_anywhere": {
            "endpoint": world.access_anywhere,
            "login": LOGIN,
            "password": world.password,
            "concurrency": 16,
        },
        "queues": [{"url": url} | for_queues for url in deployment.queues.values()],
        "logs": [
            source
            | ({"sweep": "2s"} if scenario.lose_notifications else {})
            | ({"via": "access-anywhere"} if through_aa else {})
            for source in logs(deployment, world.publishers.by_format)
        ],
        "sync": {"min_refresh_interval": 1, **_SYNC[scenario.strategy]},
        "buckets": {bucket: list(folders) for bucket, folders in world.bucket_map.items()},
        "own_writes": own_writes(deployment.account),
        "ledger": {"path": str(world.config.with_name("ledger.sqlite"))},
        "poll": {"wait": 2},
        "retry": {"first": 2, "longest": 30},
        "tree_refresh_interval": 2,
        "progress_interval": 0.2,
        "drain_timeout": 30,
    }
    if scenario.aws_endpoint:
        settings["aws"] = {"endpoint": scenario.aws_endpoint, "region": deployment.home}
    if through_aa:
        del settings["buckets"]
    return settings


_SYNC: Final[Mapping[Strategy, Mapping[str, Any]]] = {
    Strategy.REFRESH: {},
    Strategy.PROVIDER_EVENT: {
        "strategy": "provider-event",
        "batch": {"parameter": "events", "item": {"bucket": "{bucket}", "key": "{key}", "event": "{kind}"}},
    },
}


def logs(deployment: Deployment, formats: Collection[ChangeFeed]) -> list[dict[str, str]]:
    """The log sources. Only what a key's name doesn't tell is said."""
    by_format = {
        ChangeFeed.CLOUDTRAIL: {},
        ChangeFeed.ACCESS_LOG: {"prefix": ACCESS_LOG_PREFIX},
        ChangeFeed.LYVE_AUDIT: {"prefix": LYVE_PREFIX},
        ChangeFeed.MINIO_AUDIT: {"prefix": MINIO_PREFIX, "format": LOG_FORMATS[ChangeFeed.MINIO_AUDIT].value},
    }
    found = [{"bucket": deployment.log_bucket, **said} for format_, said in by_format.items() if format_ in formats]
    # CloudTrail's stand where they always do: under no prefix.
    return sorted(found, key=lambda source: -len(source.get("prefix", ""))) or [{"bucket": deployment.log_bucket}]


def own_writes(account: str) -> dict[str, list[str]]:
    """By what Access Anywhere is known: no one thing is told in every format."""
    return {
        # Ceph and Lyve know no ARNs.
        "principals": [access_anywhere_arn(account), ACCESS_ANYWHERE],
        "access_keys": [ACCESS_ANYWHERE_KEY],
        "source_addresses": [ACCESS_ANYWHERE_ADDRESS],
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """One of the world's servers as a process, stopped with the block; gives its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--exit-with-parent", *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=of_server(),
        # A Ctrl-C is for us: we stop our servers in our own time.
        start_new_session=True,
    )
    try:
        yield _read_endpoint(process, module)
    finally:
        _stop(process)
        if process.stdout is not None:
            process.stdout.close()


def _read_endpoint(process: "subprocess.Popen[bytes]", module: str) -> str:
    """The server says where it is as soon as it accepts connections."""
    if process.stdout is None:
        raise RuntimeError(f"{module} was started without a way to say where it is")
    too_late = threading.Timer(START_TIMEOUT, process.kill)
    too_late.start()
    try:
        line = process.stdout.readline()
    finally:
        # Whoever stops us meanwhile would else wait for it.
        too_late.cancel()
    if not line:
        code = process.wait()
        why = f"{START_TIMEOUT:g} s were not enough" if code == -signal.SIGKILL else f"it ended with exit code {code}"
        raise RuntimeError(f"{module} did not start: {why}")
    endpoint: str = json.loads(line)["endpoint"]
    return endpoint


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
