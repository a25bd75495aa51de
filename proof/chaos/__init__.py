"""Chaos: real processes, a network that fails, and in the end an index that must be right.

`python -m proof.chaos` kills, hangs, stops and partitions replicas while changes are made; `python -m proof.chaos drain` stops one
under load, again and again.
"""
