"""What nobody should send, and what must become of it. `python -m tests.bad_input` writes docs/bad-input.md anew."""
