"""What survives a restart: which log files are finished, and when each folder's last good refresh began."""
