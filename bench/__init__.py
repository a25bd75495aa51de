"""Benchmarks: what the pieces cost, measured side by side in one run. `python -m bench [NAME …]`."""
