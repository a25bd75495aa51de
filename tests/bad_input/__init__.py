"""Bad input and its expected verdicts. `python -m tests.bad_input` writes docs/reference/bad-input.md again."""
