"""The scaling model: from measured service times to replicas, requests, dollars and lag."""
