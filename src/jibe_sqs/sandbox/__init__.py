"""The sandbox: AWS in three regions, a CloudTrail, an Access Anywhere server, and a writer of changes,
on this machine.
"""
