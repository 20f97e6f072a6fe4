"""Webhooks: endpoints, and the delivery of the feed to each of them."""
