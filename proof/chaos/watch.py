"""The callback that receives the progress of a run."""

from collections.abc import Callable

Watch = Callable[[str], None]
"""Called with the name of each new phase."""
