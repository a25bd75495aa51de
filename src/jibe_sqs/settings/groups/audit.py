"""`audit`: events of what the service did, for CloudTrail Lake."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from jibe_sqs.settings.groups.stores import RoleSettings
from jibe_sqs.settings.types import Url


class AuditSettings(RoleSettings):
    """A channel of CloudTrail Lake that records what the service did."""

    endpoint: Url | None = Field(
        default=None,
        description="another address for CloudTrail's data service, such as the address of a VPC endpoint. If it is not "
        "set, AWS's own, also with `aws.endpoint`",
    )
    region: str | None = Field(
        default=None, description="the region for assuming the role. The channel's region is in its ARN"
    )
    channel: str | None = Field(
        default=None,
        pattern=r"^arn:[a-z-]+:cloudtrail:[a-z0-9-]+:[0-9]{12}:channel/[A-Za-z0-9._-]+$",
        description="the ARN of a channel of CloudTrail Lake, to which [events](../how-to/audit.md) about the service's work "
        "are sent. `infra/cloudformation/audit.yaml` creates it. CloudTrail Lake is closed to new customers since May 2026. If "
        "it is not set, nothing is sent",
    )
    channel_external_id: SecretStr | None = Field(
        default=None,
        description="the external id that the channel's resource policy asks for: 2 to 1224 letters, digits and `_+=,.@:/-`",
    )
    events: Annotated[tuple[Literal["files", "dead-letters", "reports"], ...], Field(min_length=1)] = Field(
        default=("files", "dead-letters", "reports"),
        description="what is sent: log files that are done, dead letters, and the counts of each provider and bucket at "
        "each report",
    )

    @field_validator("channel_external_id")
    @classmethod
    def _external_id_can_be_sent(cls, secret: SecretStr | None) -> SecretStr | None:
        text = secret.get_secret_value() if secret else "ok"
        if not 2 <= len(text) <= 1224 or not all(each.isalnum() or each in "_+=,.@:/-" for each in text):
            raise ValueError("must have 2 to 1224 letters, digits and _+=,.@:/-")
        return secret
