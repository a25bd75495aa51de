"""Stale folders and their refreshes."""
