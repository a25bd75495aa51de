"""SQS, S3 and Access Anywhere for the benchmarks, in one process of their own: `python -m bench.stub`.

It keeps state (queues with visibility, folders that are unknown until they are refreshed), checks no signatures, and
counts every request. A control path, `/-/…`, loads queues, answers the counts, and pauses.
"""
