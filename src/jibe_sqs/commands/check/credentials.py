"""Checks the credentials: AWS knows the caller."""

from jibe_sqs.commands.check.facts import Cloud
from jibe_sqs.commands.check.problems import Fine
from jibe_sqs.commands.check.running import Findings


async def check_identity(subject: str, cloud: Cloud) -> Findings:
    """AWS accepts the credentials. `subject`: the settings that they are of."""
    yield Fine(subject, f"are those of {await cloud.identity()}")
