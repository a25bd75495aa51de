"""The base class of all groups of settings."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from jibe_sqs.core.secret_references import secret_reference

GROUP_INCOMPLETE: Final = "group_incomplete"
"""The type of a validation error that concerns the group of a field, not the field alone."""


class SettingsGroup(BaseModel):
    """Settings that share a name, such as `poll`. They cannot be changed, and unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _references_are_well_formed(cls, value: Any) -> Any:
        """Each secret may be a reference. So the settings that will be added may be, too."""
        if isinstance(value, SecretStr):
            secret_reference(value.get_secret_value())
        return value
