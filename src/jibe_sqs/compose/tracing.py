"""The tracer of a service, if the settings ask for one."""

from contextlib import AsyncExitStack

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Settings
from jibe_sqs.telemetry.tracing import Tracer

MISSING = "tracing.enabled: needs OpenTelemetry: pip install 'jibe-sqs[tracing]', or remove the setting"


async def opened_tracer(settings: Settings, instance: str, stack: AsyncExitStack) -> Tracer | None:
    """The tracer, whose spans are exported until the end of the stack. None without tracing. Raises `SettingsError`."""
    if not settings.tracing.enabled:
        return None
    try:
        from jibe_sqs.adapters.otlp import exported_spans
    except ImportError as error:
        if not (error.name or "").startswith(("opentelemetry", "requests")):
            raise
        raise SettingsError([MISSING]) from error
    spans = await stack.enter_async_context(exported_spans(instance))
    return Tracer(spans) if spans is not None else None
