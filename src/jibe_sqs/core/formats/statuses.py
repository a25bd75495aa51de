"""The HTTP status of a request in audit logs and access logs."""


def is_failure(status: int | None) -> bool:
    """Whether the status is an HTTP status other than 2xx. With any other number, or None, the request counts as done."""
    return status is not None and 100 <= status < 600 and not 200 <= status < 300
