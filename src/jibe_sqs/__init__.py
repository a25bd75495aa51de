"""Keeps Access Anywhere's index of S3 buckets true."""

__version__ = "0.1.0"
