"""What the HTTP status of a request says about its success, in audit logs and access logs."""


def is_failure(status: int | None) -> bool:
    """Whether it is a status of HTTP, and not 2xx. Any other number is unknown, as is None: the request counts as done."""
    return status is not None and 100 <= status < 600 and not 200 <= status < 300
