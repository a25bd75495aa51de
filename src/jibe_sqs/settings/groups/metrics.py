"""`metrics`: how the metrics leave the service, besides `/metrics`."""

from pydantic import Field

from jibe_sqs.settings.groups.group import SettingsGroup

_ASCII = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"


class MetricsSettings(SettingsGroup):
    """Metrics in the log, for CloudWatch without an agent."""

    emf: bool = Field(
        default=False,
        description="log a line a minute in CloudWatch's embedded metric format, of which CloudWatch Logs makes "
        "[metrics](metrics.md#in-cloudwatch). It needs log lines in JSON, and `log.level` `info` or `debug`",
    )
    namespace: str = Field(
        default="JibeSqs",
        max_length=255,
        pattern=r"^[A-Za-z0-9_./#-]+$",
        description="the namespace of the metrics in CloudWatch",
    )
    service: str = Field(
        default="jibe-sqs",
        max_length=250,
        pattern=_ASCII,
        description="the value of the dimension `service`. Replicas have the same, and count together",
    )
