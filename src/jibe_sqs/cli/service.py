"""`jibe-sqs run`: the service."""

import asyncio

from jibe_sqs.cli.options import ConfigOption, load, loop_factory


def run(config: ConfigOption = None) -> None:
    """Consume the queues until SIGTERM. This is the default command."""
    from jibe_sqs.compose.service import service
    from jibe_sqs.consuming.signals import end_undisturbed, ignore_other_signals, stoppable_start
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    logs.write_in_background()
    settings = load(Settings, config)
    logs.configure(settings.log.level, settings.log.format)

    async def serve() -> None:
        ignore_other_signals()
        with stoppable_start():
            async with service(settings) as running:
                await running.run()
        end_undisturbed()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())
