"""Keeps Access Anywhere's index of S3 buckets up to date."""

__version__ = "0.1.0"
