"""Opens the port at the addresses of a host."""

import errno
import socket
from contextlib import ExitStack
from typing import Final

from jibe_sqs.core.errors import SettingsError

EVERY_ADDRESS: Final = "*"
"""The host that means all IPv6 and IPv4 addresses of this machine."""
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""The machine does not have this address, or none of its kind."""


def listening(host: str, port: int, *, group: str) -> list[socket.socket]:
    """Sockets that listen at all addresses of the host, with the same port.

    Raises `SettingsError`, which names the group of the settings, if the port is in use or the host is not of this machine.
    """
    try:
        return [_on_every_address(port)] if host == EVERY_ADDRESS else _on_addresses_of(host, port)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a host name"
        raise SettingsError(
            [f"{group}.port: cannot listen on {host} port {port}: {why}: choose another {group}.port, or {group}.host"]
        ) from error


def _on_every_address(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4; for IPv4 alone if the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - an orchestrator asks from outside the container


def _on_addresses_of(host: str, port: int) -> list[socket.socket]:
    """A host name may have several addresses, such as `localhost`. Those that this machine does not have are left out."""
    missing: OSError | None = None
    with ExitStack() as stack:
        listeners: list[socket.socket] = []
        for family, _, _, _, (address, _, *scope) in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                listener = socket.create_server((address, port, *scope), family=family)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            listeners.append(stack.enter_context(listener))
            # If the port is 0, all addresses have the first free one.
            port = listener.getsockname()[1]
        if missing and not listeners:
            raise missing
        stack.pop_all()
    return listeners
