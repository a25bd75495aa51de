"""What jibe-sqs knows: messages, formats, decisions, verdicts. No await, no logging, no clock, no environment."""
