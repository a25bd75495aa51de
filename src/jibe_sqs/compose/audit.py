"""The audit of a service, if the settings ask for one."""

from contextlib import AsyncExitStack

import msgspec

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.compose import stores
from jibe_sqs.settings import Settings
from jibe_sqs.telemetry.audit import Audit


async def opened_audit(settings: Settings, aws: Aws, instance: str, stack: AsyncExitStack) -> Audit | None:
    """The audit, which sends events until the end of the stack. None without a channel."""
    wanted = settings.audit
    if wanted.channel is None:
        return None
    from jibe_sqs.adapters.audit_events import AuditChannel, Channel

    channel = Channel.of(wanted.channel)
    account = stores.account_of(settings.aws, wanted, region=channel.region)
    # CloudTrail Lake is at AWS, also if the queues and buckets are not.
    account = msgspec.structs.replace(account, endpoint=wanted.endpoint)
    secret = wanted.channel_external_id
    sender = AuditChannel(
        channel, aws=aws, account=account, external_id=secret.get_secret_value() if secret is not None else ""
    )
    audit = Audit(sender.send, kinds=wanted.events, account=channel.account, instance=instance)
    await stack.enter_async_context(audit.running())
    return audit
