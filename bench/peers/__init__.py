"""Consumers that do the same work as ours without Access Anywhere, as a competent user would write them.

Each receives ten messages at a time, GETs the log files, decompresses them, lists the object events, and deletes the messages.
It is given the endpoint and the URL of the queue. At SIGTERM it prints the number of the events, and ends.
"""
