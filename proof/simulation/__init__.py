"""Deterministic simulation: the real service in a world where everything fails, in an order that a seed decides.

`python -m proof.simulation --seeds N` runs N worlds. `--seed N` runs one world again, with the same steps. Time is virtual.
Callbacks that are ready run in an order drawn from the seed, and processes die between any two steps. The model knows what
really happened, and checks the promises of the service at every step and at the end.
"""
