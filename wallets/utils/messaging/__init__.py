"""The broker, Celery's worker and Beat: messages that wake workers."""
