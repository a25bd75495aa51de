"""docs/reference/formats.md says what the program says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_formats", DOCS / "generate_formats.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_formats_document_is_what_would_be_generated_now(generator: ModuleType) -> None:
    """`make docs` writes it anew."""
    assert generator.generated() == (DOCS / "reference" / "formats.md").read_text(encoding="utf-8")


def test_every_example_of_the_formats_document_says_something(generator: ModuleType) -> None:
    """And those that fail, or have a bad record, are meant to."""
    examples = [*generator._messages(), *generator._logs()]
    failing = [example.title for example in examples if '"error"' in generator._explained(example)]
    assert failing == [
        "S3 event with a record that cannot be read",
        "Something else",
        "Seagate Lyve Cloud's audit log",
        "A file that ends early",
    ]
