"""The server without a socket: what connections do, done to a client in the same event loop."""

import httpx


class InProcess(httpx.ASGITransport):
    """A transport for httpx. A reset is the error that it would be; a download that ends early just has fewer bytes."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application."""
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as e:
            raise httpx.ReadError(str(e), request=request) from e
