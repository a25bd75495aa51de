"""`tracing`: spans of the work, for a tracing backend."""

from pydantic import Field

from jibe_sqs.settings.groups.group import SettingsGroup


class TracingSettings(SettingsGroup):
    """Spans, which OpenTelemetry exports."""

    enabled: bool = Field(
        default=False,
        description="whether [spans](../how-to/tracing.md) of messages, log files, refreshes and calls are exported over "
        "OTLP. Needs the extra `tracing`. OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`, say where "
        "to and how many",
    )
