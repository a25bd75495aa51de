"""Finds log files that were not announced."""
