"""The rules of jibe-sqs: messages, formats, decisions, verdicts. No await, no logging, no clock, no environment."""
