"""Generators of docs/reference. `make docs` runs them all.

A page is made from a template (`NAME.in.md`, beside the page), facts from the program, and hand-written tables in this folder.
"""
