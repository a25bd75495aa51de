"""What nobody should send, and what must become of it. `python -m tests.bad_input` writes docs/reference/bad-input.md anew."""
