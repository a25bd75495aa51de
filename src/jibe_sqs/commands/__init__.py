"""The work of the one-off commands."""
