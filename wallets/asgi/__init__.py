"""The API as an ASGI application: the transport that batches requests."""
