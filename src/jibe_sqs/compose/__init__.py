"""Builds a running service from the settings. The only package that names every concrete class."""

from jibe_sqs.compose.dead_letters import dead_letters
from jibe_sqs.compose.rules import decisions, limits, sources
from jibe_sqs.compose.service import service
from jibe_sqs.compose.stores import configuration, ledger, verification

__all__ = ["configuration", "dead_letters", "decisions", "ledger", "limits", "service", "sources", "verification"]
