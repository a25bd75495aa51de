"""General primitives for asyncio. Nothing here knows what the service is for."""
