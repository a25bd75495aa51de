"""docs/reference/errors.md: the error classes of core/errors.py, with the remedies in errors.toml."""

import inspect
from typing import Final

from jibe_sqs.core import errors
from jibe_sqs.core.errors import JibeError

from .document import Page, handwritten, same_names, table

REMEDIES: Final = "errors.toml"


def error_classes() -> list[type[JibeError]]:
    """The classes that are raised: those without subclasses, in the order of the source."""
    found = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, JibeError)]
    # Not `__subclasses__()`: other modules may derive private errors.
    bases = {base for each in found for base in each.__bases__}
    return [each for each in found if each not in bases]


def _facts() -> dict[str, str]:
    remedies = handwritten(REMEDIES)
    classes = error_classes()
    same_names(remedies, (each.__name__ for each in classes), REMEDIES)
    tables = {}
    for kind, heading in (("messages", "verdict"), ("others", "trying again")):
        rows = [
            (f"`{each.__name__}`", _meaning(each), _verdict(each, kind), remedies[each.__name__]["remedy"])
            for each in classes
            if remedies[each.__name__].get("kind", "messages") == kind
        ]
        tables[kind] = table(("error", "meaning", heading, "what to do"), rows)
    return tables


def _meaning(error: type[JibeError]) -> str:
    """The first sentence of the docstring."""
    text = " ".join((inspect.getdoc(error) or "").partition("\n\n")[0].split())
    return f"{text.partition('. ')[0].removesuffix('.')}."


def _verdict(error: type[JibeError], kind: str) -> str:
    is_permanent = error.disposition is errors.PERMANENT
    if kind == "messages":
        return "reject" if is_permanent else "retry"
    return "does not help" if is_permanent else "can help"


PAGE: Final = Page("errors", _facts)
