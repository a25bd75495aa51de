"""The configuration file of a service in the sandbox, and the providers that Access Anywhere shows there."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jibe_sqs.sandbox.aws.access_logs import PREFIX as ACCESS_LOG_PREFIX
from jibe_sqs.sandbox.aws.audit_logs import LYVE_PREFIX, MINIO_PREFIX
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, Deployment
from jibe_sqs.sandbox.aws.s3_calls import (
    ACCESS_ANYWHERE,
    ACCESS_ANYWHERE_ADDRESS,
    ACCESS_ANYWHERE_KEY,
    access_anywhere_arn,
)
from jibe_sqs.sandbox.change_feeds import ChangeFeed
from jibe_sqs.sandbox.scenario import Scenario, Strategy, Via

LOGIN: Final = "admin@sandbox.example"


def service_configuration(
    deployment: Deployment,
    scenario: Scenario,
    formats: Collection[ChangeFeed],
    *,
    access_anywhere: str,
    password: str,
    bucket_map: Mapping[str, Sequence[str]],
    ledger: Path,
    progress_interval: float,
) -> dict[str, Any]:
    """The settings that an operator on AWS would write, without endpoint and region. Only the times are shorter.

    `access_anywhere`: its endpoint. `bucket_map`: bucket -> folders of Access Anywhere. For a server other than the
    embedded AWS, the endpoint and the region are set. AWS credentials come from the environment. If logs are read
    through Access Anywhere, each queue has credentials instead, and `buckets` is not set.
    """
    through_aa = scenario.logs_via is Via.ACCESS_ANYWHERE
    for_queues = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY} if through_aa else {}
    for_logs = ({"sweep": "2s"} if scenario.lose_notifications else {}) | (
        {"via": "access-anywhere"} if through_aa else {}
    )
    settings = {
        "access_anywhere": {"endpoint": access_anywhere, "login": LOGIN, "password": password, "concurrency": 16},
        "queues": [{"url": url} | for_queues for url in deployment.queues.values()],
        "logs": [source | for_logs for source in logs(deployment, formats)],
        "sync": {"min_refresh_interval": 1, **_SYNC[scenario.strategy]},
        "buckets": {bucket: list(folders) for bucket, folders in bucket_map.items()},
        "own_writes": own_writes(deployment.account),
        "ledger": {"path": str(ledger)},
        "poll": {"wait": 2},
        "retry": {"first": 2, "longest": 30},
        "tree_refresh_interval": 2,
        "progress_interval": progress_interval,
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
    """The `logs` setting for these formats. A source names its format only if the log files' names do not show it."""
    by_format = {
        ChangeFeed.CLOUDTRAIL: {},
        ChangeFeed.ACCESS_LOG: {"prefix": ACCESS_LOG_PREFIX},
        ChangeFeed.LYVE_AUDIT: {"prefix": LYVE_PREFIX},
        ChangeFeed.MINIO_AUDIT: {"prefix": MINIO_PREFIX, "format": "audit-log"},
    }
    found = [{"bucket": deployment.log_bucket, **source} for format_, source in by_format.items() if format_ in formats]
    # The source without a prefix (CloudTrail's) must come last.
    return sorted(found, key=lambda source: -len(source.get("prefix", ""))) or [{"bucket": deployment.log_bucket}]


def own_writes(account: str) -> dict[str, list[str]]:
    """How records identify Access Anywhere. No single field exists in every format."""
    return {
        # Ceph and Lyve have no ARNs.
        "principals": [access_anywhere_arn(account), ACCESS_ANYWHERE],
        "access_keys": [ACCESS_ANYWHERE_KEY],
        "source_addresses": [ACCESS_ANYWHERE_ADDRESS],
    }


def providers(deployment: Deployment, *, archive: bool, with_logs: bool) -> list[dict[str, Any]]:
    """One provider for each region, as the server's configuration file has them.

    `archive`: another provider shows the first bucket a second time. `with_logs`: another provider shows the log bucket.
    """
    regions = dict.fromkeys(deployment.buckets.values())
    found = [
        {
            "name": f"Amazon S3 {region}",
            "region": region,
            "buckets": [bucket for bucket, where in deployment.buckets.items() if where == region],
        }
        for region in regions
    ]
    if archive:
        bucket, region = next(iter(deployment.buckets.items()))
        found.append({"name": "Archive", "region": region, "buckets": [bucket]})
    if with_logs:
        found.append({"name": "Logs", "region": deployment.home, "buckets": [deployment.log_bucket]})
    return found


def bucket_map_of(shown: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Bucket -> the folders of Access Anywhere that show it, for providers as `providers` returns them."""
    bucket_map: dict[str, list[str]] = {}
    for provider in shown:
        for bucket in provider["buckets"]:
            bucket_map.setdefault(bucket, []).append(f"/{provider['name']}/{bucket}")
    return bucket_map
