"""The requests and answers of the API of events and webhooks."""
