"""Translates errors of SQS into ours, by their code and message."""

import re
from typing import Final

from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws_errors import code_and_message, described, failure
from jibe_sqs.core.errors import DelayRefused, QueueError, QueueRefused, QueueUnavailable, ReceiptLost

_KMS: Final = ("AccessDenied", "Disabled", "InvalidKeyUsage", "InvalidState", "NotFound", "OptInRequired")
"""Errors about the key of an encrypted queue. SQS's two protocols use different names for each."""
_REFUSED: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "AccessDenied",
        "AccessDeniedException",
        "InvalidAddress",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSecurity",
        *(f"Kms{what}" for what in _KMS),
        *(f"KMS.{what}" for what in _KMS),
        *(f"KMS.{what}Exception" for what in _KMS),
    }
)
_REMEDIES: Final = {
    **dict.fromkeys(
        ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), "are the queue's URL and its region right?"
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException"), "allow it in the policy of our role, or in the policy of the queue"
    ),
}
_LOST: Final = frozenset({"AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight", "ReceiptHandleIsInvalid"})
_INVALID: Final = "InvalidParameterValue"
"""SQS has one code for an expired receipt, for a delay that is too long, and for a message that is too long."""
_LOST_TEXT: Final = re.compile("receipt ?handle|not available for visibility", re.IGNORECASE)
"""Of `Value AQEB… for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`, or at the end `Reason:
Message does not exist or is not available for visibility timeout change.`"""
_DELAY_TEXT: Final = re.compile("visibility ?timeout", re.IGNORECASE)
"""Of `Value 900 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the
limit [43200 seconds]`. The limit is counted from the receive."""


def translated(what: str, error: Exception) -> QueueError:
    """Our error for one of `aws_errors()`. `what`: what was tried, for the text."""
    if not isinstance(error, ClientError):
        return QueueUnavailable(failure(what, error))
    # A receipt has hundreds of characters. A shortened message would lose the reason behind it.
    message = str(error.response.get("Error", {}).get("Message", ""))
    return _error(code_and_message(error)[0], message, described(what, error, _REMEDIES))


def of_entry(code: str, message: str) -> QueueError:
    """Our error for a failed entry of a batch."""
    return _error(code, message, ": ".join(filter(None, (code, message))))


def _error(code: str, message: str, text: str) -> QueueError:
    """Our error for an error of SQS with this code and message. `text`: the text of our error."""
    if code in _LOST or (code == _INVALID and _LOST_TEXT.search(message)):
        return ReceiptLost(text)
    if code == _INVALID and _DELAY_TEXT.search(message):
        return DelayRefused(text)
    if code in _REFUSED:
        return QueueRefused(text)
    return QueueUnavailable(text)
