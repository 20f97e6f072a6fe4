"""The API as an ASGI application: the transport that gathers requests into batches."""
