"""docs/reference/limits.md names bounds, values and tests that exist."""

import re

import pytest
from docs.generate import limits
from docs.generate.document import REFERENCE

PAGE = (REFERENCE / "limits.md").read_text(encoding="utf-8")
BOUNDS = [
    pytest.param(bound, id=f"{name}: {bound['bound']}") for name, rows in limits.bounds().items() for bound in rows
]


@pytest.mark.parametrize("bound", BOUNDS)
def test_each_bound_has_a_value_a_consequence_and_a_test(bound):
    assert bound.keys() <= {"bound", "settings", "constants", "unit", "value", "beyond", "tests"}
    assert limits.value(bound)
    assert bound["beyond"].endswith(".")
    assert bound["tests"]


def test_each_test_on_the_page_exists():
    named = re.findall(r"`(tests/[^`]+)`", PAGE)
    assert len(named) > 100
    assert [name for name in named if not limits.has_test(name)] == []


def test_each_constant_on_the_page_exists():
    """Also those in the text between the tables."""
    named = re.findall(r"`((?:[a-z_]+\.)+[A-Z][A-Z_]+)`", PAGE)
    assert len(named) > 50
    assert all(limits.constant(name) for name in named)


@pytest.mark.parametrize(
    ("bound", "written"),
    [
        ({"settings": ["limits.messages_held"]}, "`limits.messages_held`: `10000`"),
        ({"constants": ["consuming.room.MIN_PLAN"], "unit": "bytes"}, "1 MiB: `consuming.room.MIN_PLAN`"),
        ({"constants": ["consuming.holds.MAX_HOLD"], "unit": "s"}, "11.5 h: `consuming.holds.MAX_HOLD`"),
        (
            {"constants": ["consuming.consumer.RECEIVE_BACKOFF"]},
            "1 s, doubled each time up to 60 s, minus a random part of up to 50%: `consuming.consumer.RECEIVE_BACKOFF`",
        ),
    ],
)
def test_a_value_comes_from_the_program(bound, written):
    assert limits.value(bound) == written


@pytest.mark.parametrize(
    "bound", [{"settings": ["limits.nothing"]}, {"constants": ["core.plan.NOTHING"]}, {"constants": ["core.no.X"]}]
)
def test_a_name_that_does_not_exist_is_an_error(bound):
    with pytest.raises(ValueError, match="there is no "):
        limits.value(bound)


@pytest.mark.parametrize("name", ["tests/flow/no_file.py::test_x", "tests/flow/test_pace.py::test_x", "nothing"])
def test_a_test_that_does_not_exist_is_noticed(name):
    assert not limits.has_test(name)
