"""The image's health check: exits with 0 if the service answers /livez at the port of `JIBE_HTTP__PORT`, else with 1.

A service without that variable may have no port, or one in its configuration file. Then there is nothing to ask, and it exits
with 0: the engine itself sees whether the process has ended.
"""

import http.client
import os
import sys

ASKED = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""An address of the container for each host that means several. `::` means IPv6 alone."""


def is_alive(port: int) -> bool:
    # From inside the container, so a proxy of the environment must not be used: http.client knows none.
    host = os.environ.get("JIBE_HTTP__HOST", "")
    connection = http.client.HTTPConnection(ASKED.get(host, host), port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException) as error:
        print(f"/livez at port {port}: {error!r}")
        return False


if __name__ == "__main__":
    given = os.environ.get("JIBE_HTTP__PORT", "")
    sys.exit(0 if not given.isdecimal() or int(given) == 0 or is_alive(int(given)) else 1)
