"""One queue: receive, hold, handle, settle."""
