"""Programs that try to make the service lose something."""
