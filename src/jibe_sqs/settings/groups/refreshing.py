"""`sync`: how Access Anywhere learns of changes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Duration, TemplateText


class BatchSettings(SettingsGroup):
    """Several events in one call: one parameter of the call is a JSON list with an object for each event."""

    parameter: str = Field(min_length=1, description="the name of the parameter that takes the list")
    item: dict[str, TemplateText] = Field(
        min_length=1, description="the fields of one event in the list, as [templates](#provider-events)"
    )
    size: int = Field(default=100, ge=2, le=10_000, description="the maximum number of events in one call")


class SyncSettings(SettingsGroup):
    """How Access Anywhere learns of changes."""

    strategy: Literal["refresh", "provider-event", "dry-run"] = Field(
        default="refresh", description="how Access Anywhere learns of a change; see [strategies](#strategies)"
    )
    acknowledge: bool = Field(
        default=True,
        description="whether messages that are done are deleted. `false` is only for `dry-run`: each message becomes "
        "visible again after `retry.longest`, and there are no dead letters; see [dry runs](#dry-runs)",
    )
    min_refresh_interval: Duration = Field(
        default=5,
        ge=0,
        description="the minimum time between two refreshes of one folder. It grows to twice the duration of the "
        "folder's refresh, if that is longer. With 0 there is no pause",
    )
    import_buckets: Literal["tree", "now"] = Field(
        default="tree",
        description="what happens when Access Anywhere shows a bucket that it did not show before, or when `buckets` has a "
        "new entry, also if that was while the service was stopped. `tree`: the whole folder is refreshed once, because "
        "earlier changes were skipped. `now`: only changes from then on count",
    )
    catch_up: Literal["auto", "warn"] = Field(
        default="auto",
        description="what happens after nothing was received from a queue for longer than the queue keeps messages. `auto`: "
        "the log files of that time are found by listing and processed, or all folders are refreshed if there are none. "
        "`warn`: it is only logged (`messages_expired`)",
    )
    function: str = Field(
        default="syncOnProviderEvent", min_length=1, description="the function that `provider-event` calls"
    )
    parameters: dict[str, TemplateText] = Field(
        default={}, description="the parameters of that call, as [templates](#provider-events)"
    )
    batch: BatchSettings | None = None

    @model_validator(mode="after")
    def _only_a_dry_run_leaves_its_messages(self) -> Self:
        if not self.acknowledge and self.strategy != "dry-run":
            raise ValueError(
                f"acknowledge: false is for strategy dry-run only: with {self.strategy}, messages that are never deleted "
                "would be done again and again"
            )
        return self

    @model_validator(mode="after")
    def _provider_event_has_parameters(self) -> Self:
        if self.strategy == "provider-event" and not (self.parameters or self.batch):
            raise ValueError("provider-event needs the parameters of its call: set sync.parameters or sync.batch")
        return self
