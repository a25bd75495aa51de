"""docs/reference/bad-input.md is up to date."""

from .table import DOCUMENT, generated, without_numbers


def test_the_document_equals_the_generated_text():
    """`make docs` writes it again."""
    assert without_numbers(generated()) == without_numbers(DOCUMENT.read_text(encoding="utf-8"))
