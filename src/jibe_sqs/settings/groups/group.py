"""The base class of all groups of settings."""

from typing import Final

from pydantic import BaseModel, ConfigDict

GROUP_INCOMPLETE: Final = "group_incomplete"
"""The type of a validation error that concerns the group of a field, not the field alone."""


class SettingsGroup(BaseModel):
    """Settings that share a name, such as `poll`. They cannot be changed, and unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
