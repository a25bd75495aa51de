"""Benchmarks: each measures our code and an alternative side by side in one run. `python -m bench [NAME …]`."""
