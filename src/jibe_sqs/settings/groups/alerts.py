"""`alerts`: the warnings and errors that are sent to people."""

from typing import Annotated, Literal

from pydantic import Field

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Duration, SecretUrl


class AlertSettings(SettingsGroup):
    """Warnings and errors that are sent to people. There may be a webhook, a topic, or both."""

    webhook: SecretUrl | None = Field(
        default=None, description="the address of a webhook. Warnings and errors are posted to it"
    )
    topic: (
        Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,251}(\.fifo)?$")] | None
    ) = Field(
        default=None,
        description="the ARN of an SNS topic. Warnings and errors are published to it, in the region of the ARN, with the "
        "credentials of `aws`. It may be a FIFO topic",
    )
    format: Literal["slack", "json"] = Field(
        default="slack",
        description='the form of a message. `slack`: for people; a webhook gets Slack\'s `{"text": …}`, and a topic the '
        "plain text. `json`: for programs; both get [an object](../how-to/alerts.md#for-programs)",
    )
    level: Literal["warning", "error"] = Field(default="warning", description="the lowest level that is sent")
    interval: Duration = Field(
        default=300,
        ge=1,
        description="the minimum time between two messages to the webhook, and between two to the topic",
    )
    runbooks: str = Field(
        default="docs/reference/alerts.md",
        min_length=1,
        max_length=500,
        description="the address of a page with a runbook for each log event. With `format: json`, each alert has this "
        "address with `#EVENT` at its end",
    )
