"""What the service does with the API."""
