"""A whole sandbox: AWS and Access Anywhere as processes, with buckets, queues, and publishers that have been started."""

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import httpx
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from jibe_sqs.core.errors import LogStoreUnavailable
from jibe_sqs.sandbox.aws.certificates import CA_FILE
from jibe_sqs.sandbox.aws.deployment import Deployment, deploy, deploy_store
from jibe_sqs.sandbox.aws.host_names import HOSTS
from jibe_sqs.sandbox.aws.object_writes import WRITES
from jibe_sqs.sandbox.aws.publishers import Publishers
from jibe_sqs.sandbox.change_feeds import feed_by_bucket
from jibe_sqs.sandbox.environment import NO_AUTHORITIES, of_client, of_consumer, of_store_client
from jibe_sqs.sandbox.processes import server, start_consumer, stop
from jibe_sqs.sandbox.scenario import ORDINARY, Scenario, Via
from jibe_sqs.sandbox.service_configuration import LOGIN, bucket_map_of, providers, service_configuration

VISIBILITY_TIMEOUT: Final = 10
"""Seconds. Short, so that messages held by a killed consumer become visible again soon."""
MAX_RECEIVES: Final = 10
PROGRESS_INTERVAL: Final = 10.0
LOCAL: Final[dict[str, Any]] = {"timeout": 60, "trust_env": False, "verify": NO_AUTHORITIES}
"""Options of httpx for the sandbox's servers."""


class World(msgspec.Struct, frozen=True):
    """A running sandbox."""

    deployment: Deployment
    publishers: Publishers
    access_anywhere: str
    """The endpoint."""
    password: str
    permanent_token: str
    environment: Mapping[str, str]
    """Variables for programs that use its AWS under the real host names."""
    bucket_map: Mapping[str, Sequence[str]]
    """Bucket -> the folders of Access Anywhere that show it."""
    config: Path
    """The configuration file for a service in this sandbox."""
    scenario: Scenario

    def description(self) -> dict[str, Any]:
        """What `jibe-sqs sandbox --json` prints: endpoints, names, credentials and paths for other programs."""
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
        """The whole environment for a service that reads `config`."""
        return of_consumer(self.environment, has_credentials=self.scenario.logs_via is Via.S3)

    def hosts(self) -> dict[str, int]:
        """AWS host name -> number of requests to it. Empty if the scenario uses another server than the embedded AWS."""
        if self.scenario.aws_endpoint:
            return {}
        answer = httpx.get(self.deployment.endpoint + HOSTS, **LOCAL)
        return msgspec.json.decode(answer.content, type=dict[str, int])

    def foreign_writes(self, since: int) -> list[dict[str, Any]]:
        """Object changes that other programs made under AWS's host names, with a number `n` greater than `since`."""
        answer = httpx.get(f"{self.deployment.endpoint}{WRITES}?since={since}", **LOCAL)
        return msgspec.json.decode(answer.content, type=list[dict[str, Any]])

    def get_state(self, path: str) -> Any:
        """The JSON that the Access Anywhere server returns for `/sandbox/PATH`."""
        return httpx.get(f"{self.access_anywhere}/sandbox/{path}", **LOCAL).json()

    def set_faults(self, **faults: object) -> None:
        """Replace all faults of Access Anywhere by these. Fields: `access_anywhere.faults.Faults`."""
        answer = httpx.put(f"{self.access_anywhere}/sandbox/faults", json=faults, **LOCAL)
        answer.raise_for_status()


@contextmanager
def running(
    *,
    seed: int = 0,
    archive: bool = False,
    scenario: Scenario = ORDINARY,
    visibility_timeout: int = VISIBILITY_TIMEOUT,
    max_receives: int = MAX_RECEIVES,
    progress_interval: float = PROGRESS_INTERVAL,
) -> Iterator[World]:
    """Create a new sandbox, and remove it when the block ends. `archive`: the folders of two providers show one bucket.

    `visibility_timeout`: seconds. `max_receives`: after so many receives, SQS moves a message to the dead-letter queue.
    `progress_interval`: seconds between two reports in the consumer's log.

    Raises `LogStoreUnavailable` if the scenario's server refuses to create buckets and queues.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="jibe-sandbox-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        deployment, environment = _deployed(stack, folder, scenario, visibility_timeout, max_receives)
        shown = providers(deployment, archive=archive, with_logs=scenario.logs_via is Via.ACCESS_ANYWHERE)
        password, token = secrets.token_urlsafe(12), secrets.token_urlsafe(24)
        server_config = folder / "access-anywhere.json"
        _write(server_config, {"login": LOGIN, "password": password, "permanent_token": token, "providers": shown})
        access_anywhere = stack.enter_context(
            server(
                "jibe_sqs.sandbox.access_anywhere",
                *("--aws-endpoint", deployment.endpoint, "--config", str(server_config)),
            )
        )
        formats = feed_by_bucket(scenario.format_, deployment.buckets, in_files=scenario.lose_notifications)
        world = World(
            deployment=deployment,
            publishers=Publishers(deployment, formats, seed=seed),
            access_anywhere=access_anywhere,
            password=password,
            permanent_token=token,
            environment=environment,
            bucket_map=bucket_map_of(shown),
            config=folder / "jibe-config.json",
            scenario=scenario,
        )
        _write(world.config, _configuration(world, progress_interval))
        world.publishers.start()
        yield world


@contextmanager
def consumer(world: World, output: IO[bytes] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `jibe-sqs run` against this sandbox as a process. It is stopped with SIGTERM when the block ends."""
    process = start_consumer(world.config, world.consumer_environment, output)
    try:
        yield process
    finally:
        stop(process)


def _deployed(
    stack: ExitStack, folder: Path, scenario: Scenario, visibility_timeout: int, max_receives: int
) -> tuple[Deployment, dict[str, str]]:
    """Start the embedded AWS, or use the scenario's server; create buckets, queues and topics.

    Returns the deployment, and the environment variables for programs that use it.
    """
    endpoint = scenario.aws_endpoint
    if endpoint:
        try:
            deployed = deploy_store(endpoint, visibility_timeout=visibility_timeout, max_receives=max_receives)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise LogStoreUnavailable(f"{endpoint}: cannot create buckets and queues there: {error}") from error
        environment = of_store_client(deployed.home)
    else:
        endpoint = stack.enter_context(server("jibe_sqs.sandbox.aws", "--certificates", str(folder)))
        deployed = deploy(endpoint, visibility_timeout=visibility_timeout, max_receives=max_receives)
        environment = of_client(proxy=endpoint, ca_file=str(folder / CA_FILE), region=deployed.home)
    return msgspec.structs.replace(deployed, loses_notifications=scenario.lose_notifications), environment


def _configuration(world: World, progress_interval: float) -> dict[str, Any]:
    return service_configuration(
        world.deployment,
        world.scenario,
        world.publishers.by_format,
        access_anywhere=world.access_anywhere,
        password=world.password,
        bucket_map=world.bucket_map,
        ledger=world.config.with_name("ledger.sqlite"),
        progress_interval=progress_interval,
    )


def _write(path: Path, values: dict[str, Any]) -> None:
    # The files contain passwords.
    path.touch(mode=0o600)
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
