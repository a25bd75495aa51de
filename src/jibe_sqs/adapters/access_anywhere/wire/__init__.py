"""The API: one call, its answer, the session, and the functions that we use."""
