"""An answer with another status than `ok`: HTTP 200 with an error code in the body."""

from jibe_sqs.sandbox.access_anywhere.storage import StorageError


class Refused(Exception):
    """The call is answered with this code and message. `provider_code`: S3's error code, if S3 is the reason."""

    def __init__(self, code: str, message: str, *, provider_code: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.provider_code = provider_code

    @classmethod
    def by_provider(cls, error: StorageError) -> "Refused":
        return cls("provider_error", str(error), provider_code=error.code)
