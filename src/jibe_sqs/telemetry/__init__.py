"""What the service shows of itself while it runs: counts, health, logs, alerts, reports."""
