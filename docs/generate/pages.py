"""All generated pages but bad-input.md, which `python -m tests.bad_input` writes."""

from typing import Final

from . import alerts, commands, configuration, errors, formats, limits, log_events, metrics

PAGES: Final = (
    alerts.PAGE,
    commands.PAGE,
    configuration.PAGE,
    errors.PAGE,
    formats.PAGE,
    limits.PAGE,
    log_events.PAGE,
    metrics.PAGE,
)
