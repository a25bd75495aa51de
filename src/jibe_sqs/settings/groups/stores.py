"""`aws`, `queues` and `ledger`: addresses, regions and credentials of AWS and of compatible stores."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Bytes, Duration, Url


class AwsSettings(SettingsGroup):
    """Address, region and credentials of a store. If they are not set, botocore looks for them."""

    endpoint: Url | None = Field(
        default=None, description="the address of a store that is not AWS's. If it is not set, AWS's own addresses"
    )
    region: str | None = Field(
        default=None,
        description="the region of queues, buckets and tables without a region of their own; with `aws.endpoint`, the "
        "region of that store. If it is not set, the region of the environment",
    )
    access_key_id: str | None = Field(
        default=None,
        description="the access key's id. It needs `secret_access_key`. If it is not set, the credentials of the "
        "environment are used",
    )
    secret_access_key: SecretStr | None = Field(default=None, description="the secret key of `access_key_id`")
    session_token: SecretStr | None = Field(
        default=None, description="the session token of temporary credentials. They are not renewed"
    )
    ca_file: Path | None = Field(
        default=None,
        description="a PEM file with the CA certificates that all clients of AWS or the store trust, in place of all "
        "others. If it is not set, see [certificates](#certificates)",
    )

    @model_validator(mode="after")
    def _access_key_is_complete(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key must be set together")
        return self


class RoleSettings(AwsSettings):
    """The settings of one queue, bucket or table that differ from `aws`, and a role to assume before using it."""

    access_key_id: str | None = Field(
        default=None,
        description="the access key's id, for this entry only. It needs `secret_access_key`. If it is not set, all "
        "credentials are those of `aws`; the two are never mixed",
    )
    session_token: SecretStr | None = Field(
        default=None, description="the session token of temporary credentials for this entry. They are not renewed"
    )
    ca_file: Path | None = Field(
        default=None,
        description="a PEM file with the CA certificates to trust for this entry. If it is not set, `aws.ca_file`",
    )
    role_arn: str | None = Field(
        default=None, pattern=r"^arn:[\w-]+:iam::\d{12}:role/.+", description="the ARN of a role to assume"
    )
    external_id: str | None = Field(default=None, description="the external id to send when the role is assumed")


class QueueSettings(RoleSettings):
    """One SQS queue."""

    endpoint: Url | None = Field(
        default=None,
        description="another address for SQS, such as the address of a VPC endpoint. If it is not set, `aws.endpoint`",
    )
    region: str | None = Field(
        default=None,
        description="the queue's region. If it is not set, the region in the URL, or else `aws.region`",
    )
    url: Url = Field(
        description="the queue's URL. Its last part is the queue's name in logs and errors. If several queues have the "
        "same name, the region is added: `jibe (eu-west-1)`"
    )
    expect: Duration | None = Field(
        default=None,
        gt=0,
        description="how often a message comes, at least, such as `1h`. If none came for so long, the service warns "
        "(`nothing_received`) at once and then daily. If it is not set, silence is not noticed",
    )


class LedgerSettings(RoleSettings):
    """The record of finished work, which survives a restart. Address, region and credentials are those of the table."""

    endpoint: Url | None = Field(
        default=None,
        description="another address for DynamoDB. If it is not set, `aws.endpoint`. But if `table` is an ARN of AWS "
        "and `aws.endpoint` is another store, the address is AWS's own: `https://dynamodb.REGION.amazonaws.com`",
    )
    region: str | None = Field(
        default=None, description="the table's region. If it is not set, the region in the ARN, or else `aws.region`"
    )
    kind: Literal["sqlite", "dynamodb", "memory"] = Field(
        default="sqlite",
        description="the kind of store: `sqlite` is a file; any number of replicas can share `dynamodb`; `memory` "
        "loses everything at a restart",
    )
    path: Path = Field(
        default=Path("jibe-ledger.sqlite"),
        description="the file of `sqlite`. It must not be on a network file system, and two services must not share it; "
        "workers and commands on the same host may. A file that is damaged or is not a ledger of this version is set aside under another name",
    )
    table: str | None = Field(
        default=None,
        pattern=r"^(arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/)?[A-Za-z0-9_.-]{3,255}$",
        description="the name or the ARN of the table. `dynamodb` requires it. `infra/cloudformation/ledger.yaml` "
        "creates the table",
    )
    retain_days: float = Field(
        default=30, gt=0, le=36_500, description="the number of days for which finished work is remembered"
    )
    history_days: float = Field(
        default=7,
        ge=0,
        le=36_500,
        description="the number of days for which `sqlite` remembers which log files changed a folder, and its refreshes: see `jibe-sqs history`. "
        "With 0, nothing is remembered. An entry takes about 400 bytes",
    )
    max_bytes: Bytes = Field(
        default=4 << 30,
        ge=64 << 20,
        description="the maximum size of the file of `sqlite` with its write-ahead log. In a larger one, the oldest entries are "
        "forgotten before `retain_days`. A log file takes about 400 bytes, so the default holds about ten million log files",
    )

    @model_validator(mode="after")
    def _table_matches_kind(self) -> Self:
        if self.kind == "dynamodb" and not self.table:
            raise ValueError("dynamodb needs the name or the ARN of its table: set ledger.table")
        if self.kind != "dynamodb" and self.table:
            raise ValueError(f"table is set, but kind is {self.kind}: set kind to dynamodb, or remove table")
        return self
