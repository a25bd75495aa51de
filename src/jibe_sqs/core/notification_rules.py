"""The operator's rules for message bodies of other shapes, written as JMESPath expressions.

JMESPath: https://jmespath.org. An expression is compiled and checked when the settings are read.
"""

from collections.abc import Iterator
from typing import Any, Final

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

from jibe_sqs.core.key_encodings import KeyEncoding

_FAILURES: Final = (JMESPathError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""The errors that an expression can raise for a value that it was not written for."""

MAX_LENGTH: Final = 4096
"""Characters of an expression."""

_FALSE: Final[tuple[object, ...]] = (None, False, "", [], {})
"""The values that are false in JMESPath. The number 0 is true."""


class Expression:
    """A compiled JMESPath expression."""

    def __init__(self, text: str) -> None:
        """Compile it. Raises `ValueError` with the position of the mistake."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a JMESPath expression of {len(text):,} characters; the limit is {MAX_LENGTH:,}")
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
            names = list(_functions(self._compiled.parsed))
        except ParseError as error:
            reason = error.message if isinstance(error, LexerError) else error.msg
            at = f"column {error.lex_position + 1}"
            raise ValueError(f"not a JMESPath expression: {text!r}: {at}: {reason}") from None
        except JMESPathError as error:
            raise ValueError(f"not a JMESPath expression: {error}") from None
        except RecursionError:
            raise ValueError(f"a JMESPath expression that is nested too deeply: {text[:100]!r}") from None
        for name in names:
            if name not in Functions.FUNCTION_TABLE:
                at = f"column {text.find(name) + 1}"
                raise ValueError(f"not a JMESPath expression: {text!r}: {at}: there is no function {name}()")

    def value(self, body: object) -> Any:
        """Its value for a body. Raises `ValueError` if it cannot be evaluated."""
        try:
            return self._compiled.search(body)
        except _FAILURES as error:
            # The error's text quotes values of the body, which may be long, or not encodable as UTF-8.
            reason = f"{type(error).__name__}: {_text(error)}".partition("\n")[0][:200]
            raise ValueError(f"{self.text!r} fails: {reason.encode('utf-8', 'backslashreplace').decode()}") from None

    def is_true(self, body: object) -> bool:
        """Whether its value is true in JMESPath. False if it cannot be evaluated."""
        try:
            found = self.value(body)
        except ValueError:
            return False
        return not any(found is each or (type(found) is type(each) and found == each) for each in _FALSE)


class NotificationRule(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the operator's `notifications`.

    `when` and `items` are evaluated on the body, the others on each item. Without `items`, the body is the only item.
    """

    when: Expression
    bucket: Expression
    key: Expression
    items: Expression | None = None
    event: Expression | None = None
    time: Expression | None = None
    key_encoding: KeyEncoding | None = None


def _text(error: Exception) -> str:
    try:
        return str(error)
    except (RecursionError, ValueError):
        return "for a value that is nested too deeply or is too large"


def _functions(node: dict[str, Any]) -> Iterator[str]:
    """The names of the functions that a parsed expression calls."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _functions(child)
