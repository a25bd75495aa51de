"""The embedded world: AWS in three regions, a CloudTrail, an Access Anywhere, and people who change things."""
