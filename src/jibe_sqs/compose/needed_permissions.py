"""The permissions in AWS that a configuration needs. It only looks at the settings, and asks nothing of AWS.

`infra/cloudformation/service.yaml` grants the same under the same names.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from jibe_sqs.adapters.partitions import is_aws, partition_of, region_of_url
from jibe_sqs.core.iam_policies import Grant, literal
from jibe_sqs.core.secret_references import Parameter, SecretFile, SecretReference
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings import Address, AwsSettings, LogSettings, QueueSettings, RoleSettings, Settings
from jibe_sqs.settings.references import references

CONSUME: Final = ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
DELETE: Final = "sqs:DeleteMessage"
DEAD_LETTER: Final = ("sqs:SendMessage", "sqs:GetQueueUrl")
READ_LOGS: Final = ("s3:GetObject", "s3:GetObjectVersion")
REMEMBER: Final = (
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:BatchWriteItem",
)
CHECK: Final = (
    "cloudtrail:DescribeTrails",
    "cloudtrail:GetEventSelectors",
    "cloudtrail:GetTrailStatus",
    "cloudwatch:GetMetricStatistics",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "s3:GetBucketLogging",
    "s3:GetBucketNotification",
    "s3:GetLifecycleConfiguration",
    "sns:GetSubscriptionAttributes",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sqs:GetQueueAttributes",
)
"""What `jibe-sqs check` reads, and the service does not. Which topics, trails and dead-letter queues there are is known only then."""
READ_ONLY: Final = "ReadOnly"
"""The mode of sessions with directory buckets. If a client names none, S3 takes the one that is allowed."""
DEAD_LETTERS: Final = "-dead-letters"
"""At the end of the name of a dead-letter queue that `infra/cloudformation/central.yaml` creates."""

_ANY: Final = "*"
_DIRECTORY_BUCKET: Final = "--x-s3"
_RANDOM_END: Final = re.compile(r"-[A-Za-z0-9]{6}$")
_KEYS: Final = (
    "customer managed keys of KMS are not in the configuration: allow kms:Decrypt on those that encrypt queues, log files, the "
    "table, secrets or the configuration, and also kms:GenerateDataKey on those of dead-letter queues and of the topic of alerts"
)


class Asked(msgspec.Struct, frozen=True):
    """What a policy is for. `document`: where the configuration is kept in AWS, read from `store`; None for a file."""

    document: Address | None = None
    store: AwsSettings = AwsSettings()
    check: bool = False
    compare: bool = False


class Needed(msgspec.Struct, frozen=True):
    """The grants that each identity needs, and what an operator has to know about them.

    An identity is the ARN of a role that the configuration assumes, or empty for the identity that the service begins with.
    """

    grants: dict[str, list[Grant]]
    notes: list[str]


def needed_permissions(settings: Settings, asked: Asked | None = None) -> Needed:
    """The permissions that the service needs with these settings."""
    asked = asked or Asked()
    found = _Permissions(settings, asked.document)
    found.add_document(asked)
    found.add_secrets(references(settings))
    for queue in settings.queues:
        found.add_queue(queue)
    for each in settings.logs:
        found.add_logs(each)
    if settings.queues and not settings.logs:
        found.note("logs is empty, so this policy allows no log file: set logs, if messages announce log files")
    if asked.compare or settings.compare.every is not None:
        found.add_comparison()
    found.add_ledger()
    found.add_outputs()
    return found.needed(check=asked.check)


class _Permissions:
    """Collects the grants of one configuration."""

    def __init__(self, settings: Settings, document: Address | None) -> None:
        self._settings = settings
        self._grants: dict[str, list[Grant]] = {"": []}
        self._notes: list[str] = []
        regions = [*map(_region, settings.queues), settings.aws.region, settings.ledger.region]
        found = [partition_of(each) for each in regions if each]
        found += [each.split(":")[1] for each in _arns(settings, document)]
        self._partition = next(filter(None, found), "aws")
        accounts = {_account(each.url) for each in settings.queues if not each.role_arn} - {_ANY}
        self._account = accounts.pop() if len(accounts) == 1 else _ANY

    def note(self, text: str) -> None:
        """A sentence for the operator. It is shown once."""
        if text not in self._notes:
            self._notes.append(text)

    def needed(self, *, check: bool) -> Needed:
        """All of it. `check`: with what `jibe-sqs check` reads."""
        roles = [each for each in self._grants if each]
        for role in roles:
            self._add("", "AssumeRoles", ("sts:AssumeRole",), role)
            self.note(f"the role {role} needs a policy of its own: --role {role} prints it")
        if check:
            for identity, grants in self._grants.items():
                for table in [each.resource for each in grants if each.sid == "Remember"]:
                    self._add(identity, "CheckLedger", ("dynamodb:Scan",), table)
                self._add(identity, "Check", CHECK, _ANY)
        if any(self._grants.values()):
            self.note(_KEYS)
        return Needed(self._grants, self._notes)

    def add_document(self, asked: Asked) -> None:
        """The configuration itself."""
        if isinstance(asked.document, Parameter):
            self._add("", "Configure", (asked.document.permission,), _without_version(asked.document.arn))
        elif asked.document is not None:
            if self._is_elsewhere("the configuration", asked.store.endpoint):
                return
            bucket, key = asked.document
            self._add("", "Configure", ("s3:GetObject",), f"{self._bucket(bucket)}/{literal(key)}")

    def add_secrets(self, found: dict[tuple[str | int, ...], SecretReference]) -> None:
        """The secrets and parameters to which settings refer."""
        for path, reference in found.items():
            kept = reference.kept
            if isinstance(kept, SecretFile):
                continue
            arn = _without_version(kept.arn) if isinstance(kept, Parameter) else self._secret(kept.arn)
            sid = "LogIn" if path[0] == "access_anywhere" else "ReadSecrets"
            self._add("", sid, (kept.permission,), arn)

    def add_queue(self, queue: QueueSettings) -> None:
        """A queue and its dead-letter queue. A trial that keeps its messages deletes and rejects nothing."""
        endpoint = queue.endpoint or self._settings.aws.endpoint
        if self._is_foreign(f"the queue {_path(queue.url)}", queue, endpoint):
            return
        region, account = _region(queue) or self._settings.aws.region or _ANY, _account(queue.url)
        name = _path(queue.url).rpartition("/")[2]
        start = self._arn("sqs", region, account, own=queue)
        if _ANY in (region, account):
            self.note(f"the queue {name}: its region or account is not known, so * is in its place: correct its ARN")
        role, keeps = queue.role_arn or "", not self._settings.sync.acknowledge
        self._add(role, "Consume", CONSUME if keeps else (*CONSUME, DELETE), start + literal(name))
        if keeps:
            return
        plain, suffix, _ = name.partition(".fifo")
        dead = f"{plain}{DEAD_LETTERS}{suffix}"
        self.note(f"the dead-letter queue of {name} is assumed to be {dead}: correct its ARN if it has another name")
        self._add(role, "DeadLetter", DEAD_LETTER, start + literal(dead))

    def add_logs(self, each: LogSettings) -> None:
        """A bucket with log files. CloudTrail's digests are read from S3, also if Access Anywhere gives the logs."""
        if each.via != "s3" and not each.verify:
            return
        endpoint = each.endpoint or self._settings.aws.endpoint
        if self._is_foreign(f"the log bucket {each.bucket}", each, endpoint):
            return
        role, owner, bucket = each.role_arn or "", each.bucket_owner or "", self._bucket(each.bucket, own=each)
        if each.via == "s3":
            self._add(role, "ReadLogs", READ_LOGS, f"{bucket}/{literal(each.prefix)}*", owner)
        if each.verify:
            if each.via != "s3" or each.prefix:
                self._add(role, "ReadLogs", READ_LOGS, f"{bucket}/*CloudTrail-Digest/*", owner)
            self._add(role, "Verify", ("cloudtrail:ListPublicKeys",), _ANY)
        # Not only below the prefix: S3 would answer 403 and not 404 for a log file that does not exist.
        self._add(role, "ListLogs", ("s3:ListBucket",), bucket, owner)
        if each.bucket == EVERY_BUCKET:
            self._add(role, "FindBuckets", ("s3:ListAllMyBuckets",), _ANY)

    def add_comparison(self) -> None:
        """The data buckets, to list them."""
        if self._is_elsewhere("the data buckets", self._settings.aws.endpoint):
            return
        names: Iterable[str] = self._settings.buckets or (EVERY_BUCKET,)
        if not self._settings.buckets:
            self.note(
                "which buckets Access Anywhere shows is not in the configuration, so all may be listed: set buckets"
            )
        for name in names:
            if name.endswith(_DIRECTORY_BUCKET):
                arn = f"{self._arn('s3express', _ANY, self._account)}bucket/{literal(name)}"
                self._add("", "CompareExpress", ("s3express:CreateSession",), arn, mode=READ_ONLY)
            else:
                self._add("", "Compare", ("s3:ListBucket",), self._bucket(name))

    def add_ledger(self) -> None:
        """The table of the ledger."""
        ledger = self._settings.ledger
        if ledger.kind != "dynamodb" or not ledger.table:
            return
        is_arn = ledger.table.startswith("arn:")
        endpoint = ledger.endpoint or (None if is_arn else self._settings.aws.endpoint)
        if self._is_foreign(f"the table {ledger.table}", ledger, endpoint):
            return
        arn = ledger.table
        if not is_arn:
            region = ledger.region or self._settings.aws.region or _ANY
            account = ledger.role_arn.split(":")[4] if ledger.role_arn else self._account
            if _ANY in (region, account):
                self.note(
                    f"the table {arn}: its region or account is not known, so * is in its place: write its ARN into ledger.table"
                )
            arn = f"{self._arn('dynamodb', region, account, own=ledger)}table/{arn}"
        self._add(ledger.role_arn or "", "Remember", REMEMBER, arn)

    def add_outputs(self) -> None:
        """The topic of alerts, and the channel of the audit."""
        topic, audit = self._settings.alerts.topic, self._settings.audit
        if topic and not self._is_elsewhere(f"the topic {topic}", self._settings.aws.endpoint):
            self._add("", "Alert", ("sns:Publish",), topic)
        if audit.channel and not self._is_foreign(f"the channel {audit.channel}", audit, audit.endpoint):
            self._add(audit.role_arn or "", "Audit", ("cloudtrail-data:PutAuditEvents",), audit.channel)

    def _secret(self, arn: str) -> str:
        """The ARN with six random characters at its end. Secrets Manager finds a secret without them, IAM does not."""
        if _RANDOM_END.search(arn):
            return arn
        self.note(f"the six random characters of {arn} are not known, so ?????? is in their place: write its whole ARN")
        return f"{arn}-??????"

    def _add(
        self, role: str, sid: str, actions: Sequence[str], resource: str, owner: str = "", *, mode: str = ""
    ) -> None:
        self._grants.setdefault(role, []).append(Grant(sid, tuple(actions), resource, owner, mode))

    def _is_foreign(self, what: str, entry: RoleSettings, endpoint: str | None) -> bool:
        """Whether other credentials are used for it, or none of AWS."""
        if entry.access_key_id:
            self.note(f"{what} is left out: it has an access key of its own")
            return True
        return self._is_elsewhere(what, endpoint)

    def _is_elsewhere(self, what: str, endpoint: str | None) -> bool:
        if not endpoint or is_aws(endpoint):
            return False
        self.note(f"{what} is left out: it is not at AWS")
        return True

    def _arn(self, service: str, region: str, account: str, own: RoleSettings | None = None) -> str:
        """The beginning of an ARN. `own`: the entry, whose region or role may be in another partition."""
        partition = partition_of(region) if region != _ANY else None
        if own is not None and own.role_arn:
            partition = partition or own.role_arn.split(":")[1]
        return f"arn:{partition or self._partition}:{service}:{region}:{account}:"

    def _bucket(self, name: str, own: LogSettings | None = None) -> str:
        """The ARN of a bucket, which has neither region nor account. `own`: its entry, which may have a region."""
        region = (own.region if own else None) or _ANY
        partition = self._arn("s3", region, "", own).split(":")[1]
        return f"arn:{partition}:s3:::{name if name == EVERY_BUCKET else literal(name)}"


def _arns(settings: Settings, document: Address | None) -> list[str]:
    """The ARNs that name a partition."""
    roles = [each.role_arn for each in (*settings.queues, *settings.logs, settings.ledger)]
    others = [settings.ledger.table, settings.alerts.topic, settings.audit.channel]
    kept = [str(each.kept) for each in references(settings).values()]
    document_arn = document.arn if isinstance(document, Parameter) else None
    return [each for each in (*roles, *others, *kept, document_arn) if each and each.startswith("arn:")]


def _without_version(arn: str) -> str:
    """The ARN of a parameter without the version at its end. Policies know parameters only as a whole."""
    return ":".join(arn.split(":")[:6])


def _region(queue: QueueSettings) -> str | None:
    return queue.region or region_of_url(queue.url)


def _path(url: str) -> str:
    return urlsplit(url).path.strip("/")


def _account(url: str) -> str:
    """The account in the URL of a queue."""
    account = _path(url).rpartition("/")[0].rpartition("/")[2]
    return account if len(account) == 12 and account.isdecimal() else _ANY
