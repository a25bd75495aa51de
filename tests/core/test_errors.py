"""The tree in the docstring of errors.py is the tree of the classes."""

import inspect

import pytest

from jibe_sqs.core import errors
from jibe_sqs.core.errors import Disposition, JibeError

CLASSES = [
    each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, JibeError)
]  # fmt: skip


def documented_tree() -> dict[str, tuple[str | None, str]]:
    """Each name in the docstring's tree -> the name above it, and the text beside it."""
    found: dict[str, tuple[str | None, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        branch = line.lstrip("│├└─ ")
        if not branch or not (line.startswith(("├", "└", "│")) or line == "JibeError"):
            continue
        depth = (len(line) - len(branch)) // 4
        name, _, about = branch.partition(" ")
        above = [*above[:depth], name]
        found[name] = (above[depth - 1] if depth else None, about.strip())
    return found


TREE = documented_tree()


def test_the_tree_lists_every_error_and_no_other():
    assert set(TREE) == {each.__name__ for each in CLASSES}


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_has_the_base_class_that_the_tree_shows(error):
    parent, _ = TREE[error.__name__]
    assert error.__bases__ == (getattr(errors, parent) if parent else Exception,)


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_says_whether_trying_again_can_help(error):
    assert isinstance(error.disposition, Disposition)


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_is_permanent_if_the_tree_says_so_for_it_or_for_an_error_above_it(error):
    name, said = error.__name__, ""
    while name and not said:
        parent, about = TREE[name]
        said = next((word for word in ("permanent", "transient") if word in about), "")
        name = parent or ""
    assert error.disposition.value == (said or "transient")


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_has_a_docstring(error):
    assert error.__doc__


def test_a_record_error_has_its_position():
    error = errors.RecordMalformed("no key", index=7, offset=99, field="key")
    assert (str(error), error.index, error.offset, error.field) == ("no key", 7, 99, "key")


def test_a_settings_error_has_all_problems_in_one_text_and_as_a_list():
    error = errors.SettingsError(["no queue", "no endpoint"])
    assert (str(error), error.problems) == ("no queue; no endpoint", ["no queue", "no endpoint"])


def test_an_unavailable_server_may_name_a_time_to_wait():
    assert errors.AccessAnywhereUnavailable("busy").retry_after is None
    assert errors.AccessAnywhereUnavailable("busy", retry_after=3.5).retry_after == 3.5


def test_a_failed_call_keeps_the_servers_error_code():
    assert errors.CallFailed("refused", code="no_such_folder").code == "no_such_folder"
