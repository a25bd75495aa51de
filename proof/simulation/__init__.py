"""Deterministic simulation: the real service in a world that fails in every way, in an order that a seed decides.

`python -m proof.simulation --seeds N` runs many worlds, `--seed N` one of them again, step by step the same. Time is virtual,
everything that waits is woken in an order drawn from the seed, and processes die between any two steps. What the
service promises is judged by the truth of the model, at every step and at the end.
"""
