"""What the service reports about itself while it runs: counts, health, logs, alerts and reports."""
