"""The server without sockets: connection faults for a client in the same event loop."""

import httpx


class InProcess(httpx.ASGITransport):
    """A transport for httpx. A reset raises the error that httpx raises for it.

    A download that ends early just has fewer bytes.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application."""
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as e:
            raise httpx.ReadError(str(e), request=request) from e
