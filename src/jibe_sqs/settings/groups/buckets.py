"""`buckets` and `own_writes`: the folders that show a bucket, and how to recognise Access Anywhere's own writes."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import FolderPath, FolderPrefix, KeyPatterns, Networks, Words, as_list


class PlaceSettings(SettingsGroup):
    """A folder of Access Anywhere that shows a bucket, or the part of it below `prefix`."""

    folder: FolderPath = Field(
        description="the full path of the folder, which begins with / and the provider's name. A text in place of the "
        "entry is the folder of the whole bucket"
    )
    prefix: FolderPrefix = Field(
        default="",
        description="the folder in the bucket whose keys are shown, without this prefix: `team` means `team/`. If it "
        "is not set, the whole bucket",
    )
    ignore: KeyPatterns = Field(
        default=(),
        description="the [patterns](#filters) of whole keys, with the prefix, that are of no interest in this folder: their "
        "changes are skipped as `ignored`, such as `_temporary/`",
    )


def _as_place(value: object) -> object:
    return {"folder": value} if isinstance(value, str) else value


Places = Annotated[
    tuple[Annotated[PlaceSettings, BeforeValidator(_as_place)], ...], BeforeValidator(as_list), Field(min_length=1)
]


class OwnWritesSettings(SettingsGroup):
    """How to recognise the writes of Access Anywhere itself. ARNs and user agents may contain `*` and `?`."""

    access_keys: Words = Field(default=(), description="the ids of access keys")
    principals: Words = Field(
        default=(),
        description="the callers, as the source names them: ARNs in CloudTrail's logs, such as "
        "`arn:aws:iam::111122223333:user/access-anywhere`; ids in S3's events, such as `AWS:AIDAEXAMPLE`; users in "
        "audit logs. `jibe-sqs principals` lists the callers that it has seen",
    )
    session_issuers: Words = Field(default=(), description="the ARNs of roles; all sessions of a role count")
    source_addresses: Networks = Field(default=(), description="IP addresses, or networks such as `192.0.2.0/24`")
    user_agents: Words = Field(
        default=(),
        description="user agents. CloudTrail writes them in brackets, so write `*AccessAnywhere*`",
    )
