"""Chaos: real processes and a network that fails. At the end, Access Anywhere's index must equal S3.

`python -m proof.chaos` kills, hangs, stops and partitions replicas while changes are made. `python -m proof.chaos
drain` stops one replica under load, many times.
"""
