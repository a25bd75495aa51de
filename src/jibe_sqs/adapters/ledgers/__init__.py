"""The state that survives a restart: the finished log files, and when each folder's last successful refresh began."""
