"""The code of the page about testing your own code works."""

import asyncio
import re
from pathlib import Path

import pytest

import jibe_sqs.testing

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-own-code.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def example():
    names = {"__name__": "example"}
    for block in CODE:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


TESTS = {name: test for name, test in example().items() if name.startswith("test_")}


@pytest.mark.parametrize("name", TESTS)
def test_each_test_of_the_page_passes_in_real_time(name):
    asyncio.run(TESTS[name]())


def test_the_page_has_three_tests():
    assert len(TESTS) == 3


def test_the_page_lists_each_double():
    listed = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert listed == set(jibe_sqs.testing.__all__) - {"QueueCall", "Run"}


def test_the_page_names_only_attributes_that_exist():
    async def check():
        for line in re.findall(r"^\| `\w+` \|.*$", TEXT, re.MULTILINE):
            double, *attributes = re.findall(r"`(\w+)", line)
            built = getattr(jibe_sqs.testing, double)()
            assert [each for each in attributes if not hasattr(built, each)] == []

    asyncio.run(check())
