"""docs/reference/bad-input.md says what becomes of each."""

from .table import DOCUMENT, generated, without_numbers


def test_the_document_is_what_would_be_generated_now():
    """`make docs` writes it anew."""
    assert without_numbers(generated()) == without_numbers(DOCUMENT.read_text(encoding="utf-8"))
