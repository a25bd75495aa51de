"""When a call may be made: the circuit breaker, the limit of calls in flight, and waiting."""
