"""What all services share: checked arguments, idempotency, batches of many requests."""
