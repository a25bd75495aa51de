"""`notifications` and `sns`: messages of other shapes, and signatures of SNS."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from jibe_sqs.core.key_encodings import KeyEncoding
from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Expression, as_list


class NotificationSettings(SettingsGroup):
    """How to read messages of one unknown shape. `when` and `items` are evaluated on the message, the rest on an item."""

    when: Expression = Field(description="true for the messages that this entry describes; evaluated on the message")
    items: Expression | None = Field(
        default=None,
        description="the list of events; evaluated on the message. If it is not set, the message is the only item",
    )
    bucket: Expression = Field(description="the bucket's name; evaluated on an item")
    key: Expression = Field(description="the object's key; evaluated on an item")
    event: Expression | None = Field(
        default=None,
        description="the event's name; evaluated on an item. It is read like the names of S3's events: a name with "
        "`Delet`, `Remov` or `Expir` is a deletion, and an unknown name is a write. If it is not set, each event is a "
        "write",
    )
    time: Expression | None = Field(
        default=None,
        description="the time of the event; evaluated on an item. It is ISO 8601, or a number of seconds, "
        "milliseconds, microseconds or nanoseconds since 1970. A time before 2006 or without seconds counts as "
        "unknown. If the time is unknown or not set, the event is never skipped as old",
    )
    key_encoding: KeyEncoding | None = Field(
        default=None,
        description="how keys are encoded, as in `key_encodings`. If it is not set, the entry `*` of `key_encodings` "
        "decides; without such an entry, both readings of the key count",
    )


class SnsSettings(SettingsGroup):
    """Whether messages must be signed by SNS, and the topics that are accepted."""

    verify: bool = Field(
        default=False,
        description="whether a message without a valid signature of SNS becomes a dead letter "
        "(`AnnouncementUnsigned`, `AnnouncementForged`). Signature versions 1 and 2 are known",
    )
    topics: Annotated[
        tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")], ...],
        BeforeValidator(as_list),
    ] = Field(
        default=(),
        description="the ARNs of the accepted topics. An envelope inside an envelope must be from one of them too. If "
        "it is not set, topics of every AWS account are accepted",
    )

    @model_validator(mode="after")
    def _topics_need_signatures(self) -> Self:
        if self.topics and not self.verify:
            raise ValueError("topics: anyone can write a topic's name into a message: set sns.verify as well")
        return self
